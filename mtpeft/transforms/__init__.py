"""Transforms of a picture together with the labels of every task.

They are MMCV transforms: ``results['img']`` and every array of ``results['labels']`` move alike,
by the rules of ``results['tasks']``. Random draws come from NumPy's global generator, which the
data set seeds for every picture. Image-only transforms of MMCV and mmsegmentation fit in between.
"""

from mtpeft.transforms.ignore_empty import MTIgnoreEmpty
from mtpeft.transforms.pack import PackMultiTaskInputs
from mtpeft.transforms.pad import MTPad
from mtpeft.transforms.photometric_distortion import MTPhotometricDistortion
from mtpeft.transforms.random_crop import MTRandomCrop
from mtpeft.transforms.random_flip import MTRandomFlip
from mtpeft.transforms.random_scale_crop import MTRandomScaleCrop
from mtpeft.transforms.random_scale_rotate import MTRandomScaleRotate
from mtpeft.transforms.resize import MTResize

__all__ = [
    'MTIgnoreEmpty', 'MTPad', 'MTPhotometricDistortion', 'MTRandomCrop', 'MTRandomFlip',
    'MTRandomScaleCrop', 'MTRandomScaleRotate', 'MTResize', 'PackMultiTaskInputs',
]  # fmt: skip
