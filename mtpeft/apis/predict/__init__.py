"""Predictions of files as files: maps, drawings and videos."""
