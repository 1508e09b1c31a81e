"""Data sets: pictures with labels for several tasks."""

from mtpeft.datasets.base import MultiTaskDataset
from mtpeft.datasets.counted_sampler import CountedSampler
from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.folder_mt import FolderMT
from mtpeft.datasets.nyud_mt import NYUDMT
from mtpeft.datasets.pascal_context_mt import PASCALContextMT
from mtpeft.datasets.scenes_mt import ScenesMT

__all__ = [
    'CountedSampler', 'DataFileError', 'FolderMT', 'MultiTaskDataset', 'NYUDMT', 'PASCALContextMT',
    'ScenesMT',
]  # fmt: skip
