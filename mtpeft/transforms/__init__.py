"""Transforms of a picture together with the labels of every task."""
