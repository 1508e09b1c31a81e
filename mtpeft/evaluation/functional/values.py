"""Errors of real values of any unit and sign."""

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics


def values_update(pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
    """Error sums of one picture.

    Args:
        pred: ``(C, H, W)``.
        label: ``(C, H, W)``.
        valid: Boolean mask ``(H, W)``.

    Returns:
        ``entries`` (valid pixels times channels), ``absolute`` and ``squared`` error sums.
    """
    error = pred[:, valid].double() - label[:, valid].double()
    return dict(
        entries=torch.tensor(error.numel()),
        absolute=error.abs().sum(),
        squared=error.square().sum(),
    )


def values_compute(pooled: Statistics) -> dict[str, float]:
    """``mae`` and ``rmse`` over all valid entries of the set."""
    n = int(pooled['entries'])
    return dict(mae=float(pooled['absolute'] / n), rmse=float((pooled['squared'] / n).sqrt()))
