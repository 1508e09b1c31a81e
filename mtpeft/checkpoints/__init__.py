"""Checkpoint files: what is in them, where it came from, and whether it fits a model."""
