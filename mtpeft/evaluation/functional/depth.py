"""Errors of depth in metres."""

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics


def depth_update(pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
    """Error sums of one picture.

    Args:
        pred: ``(C, H, W)`` in metres.
        label: ``(C, H, W)`` in metres.
        valid: Boolean mask ``(H, W)``.

    Returns:
        ``pixels``; ``squared`` (sum of squared errors, m^2); ``relative`` (sum of |error| /
        label); ``delta1``, pixels with max(pred / label, label / pred) < 1.25.

    Raises:
        ValueError: a valid label is not positive.
    """
    guess, truth = pred[:, valid].double(), label[:, valid].double()
    if truth.numel() and truth.min() <= 0:
        raise ValueError(f'expected positive depths, got a label of {float(truth.min()):g}')
    error = guess - truth
    # Written without a division by the prediction, which may be 0 or negative.
    close = (guess < 1.25 * truth) & (truth < 1.25 * guess)
    return dict(
        pixels=torch.tensor(truth.numel()),
        squared=error.square().sum(),
        relative=(error.abs() / truth).sum(),
        delta1=close.sum(),
    )


def depth_compute(pooled: Statistics) -> dict[str, float]:
    """Figures pooled over all valid pixels of the set.

    Args:
        pooled: The sum of :func:`depth_update`.

    Returns:
        ``rmse`` in metres, ``abs_rel`` (a ratio), ``delta1`` in percent of the pixels.
    """
    n = int(pooled['pixels'])
    return dict(
        rmse=float((pooled['squared'] / n).sqrt()),
        abs_rel=float(pooled['relative'] / n),
        delta1=100 * float(pooled['delta1']) / n,
    )
