"""Data sets: pictures with labels for several tasks."""

from mtpeft.datasets.base import MultiTaskDataset
from mtpeft.datasets.errors import DataFileError

__all__ = ['DataFileError', 'MultiTaskDataset']
