"""The original files of NYUDv2, and what the ``NYUD_MT`` layout needs that they do not hold."""

from mtpeft.datasets.nyudv2.classes import CLASSES, class_table
from mtpeft.datasets.nyudv2.geometry import (
    KINECT,
    Intrinsics,
    boundaries,
    close_rims,
    normals_from_depth,
)
from mtpeft.datasets.nyudv2.source import LabeledFile, Picture, read_splits

__all__ = [
    'CLASSES', 'Intrinsics', 'KINECT', 'LabeledFile', 'Picture', 'boundaries', 'class_table',
    'close_rims', 'normals_from_depth', 'read_splits',
]  # fmt: skip
