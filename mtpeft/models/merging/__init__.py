"""Adapters merged into weights, for inference."""
