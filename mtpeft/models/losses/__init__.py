"""Losses of dense tasks, normalised over the valid pixels of all processes."""

from mtpeft.models.losses.balanced_bce import BalancedBCELoss
from mtpeft.models.losses.cross_entropy import PixelCrossEntropyLoss
from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.dice import DiceLoss
from mtpeft.models.losses.l1 import MaskedL1Loss, NormalsL1Loss

__all__ = [
    'BalancedBCELoss', 'DenseLoss', 'DiceLoss', 'MaskedL1Loss', 'NormalsL1Loss',
    'PixelCrossEntropyLoss',
]  # fmt: skip
