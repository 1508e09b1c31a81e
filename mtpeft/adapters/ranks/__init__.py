"""Ranks: components of low-rank paths, their scores, patterns and pruning."""
