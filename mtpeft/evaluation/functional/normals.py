"""Angles between predicted and true surface normals."""

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics

BIN_DEG = 0.05
_BINS = round(180 / BIN_DEG)
_SHARES = (11.25, 22.5, 30.0)


def angles_deg(pred: Tensor, label: Tensor) -> Tensor:
    """Angle between vectors in degrees, in float64.

    ``atan2(|p x g|, p . g)``: needs no unit length and keeps its precision near 0 and 180, where
    the arc cosine of a float32 product is off by hundredths of a degree. A vector of length 0
    points nowhere: 90 degrees.

    Args:
        pred: ``(3, N)``.
        label: ``(3, N)``.

    Returns:
        ``(N,)`` in 0..180.
    """
    pred, label = pred.double(), label.double()
    dot = (pred * label).sum(0)
    sine = torch.linalg.cross(pred, label, dim=0).square().sum(0).sqrt()
    angle = torch.rad2deg(torch.atan2(sine, dot))
    nowhere = (pred == 0).all(0) | (label == 0).all(0)
    return torch.where(nowhere, 90.0, angle)


def normals_update(pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
    """Sums and a histogram of the angles of one picture.

    Args:
        pred: ``(3, H, W)``, any length.
        label: ``(3, H, W)``, any length.
        valid: Boolean mask ``(H, W)``.

    Returns:
        ``pixels``; ``angle`` and ``angle_squared``, sums in degrees; ``below`` ``(3,)``, pixels
        below 11.25, 22.5 and 30 degrees; ``histogram`` ``(3600,)``, bins of .05 degrees.
    """
    angle = angles_deg(pred[:, valid], label[:, valid])
    bins = (angle / BIN_DEG).long().clamp(max=_BINS - 1)
    return dict(
        pixels=valid.sum(),
        angle=angle.sum(),
        angle_squared=angle.square().sum(),
        below=torch.stack([(angle < limit).sum() for limit in _SHARES]),
        histogram=torch.bincount(bins, minlength=_BINS).to(torch.int32),
    )


def normals_compute(pooled: Statistics) -> dict[str, float]:
    """Figures pooled over all valid pixels of the set.

    The median is read from the histogram (the mean of the two middle angles, each replaced by its
    bin's centre), so it is within .025 degrees of the exact one; the rest is exact.

    Args:
        pooled: The sum of :func:`normals_update`.

    Returns:
        ``mean_angle``, ``rmse``, ``median`` in degrees; ``below_11.25``, ``below_22.5``,
        ``below_30`` in percent of the pixels.
    """
    n = int(pooled['pixels'])
    cumulated = pooled['histogram'].cumsum(0)
    middle = torch.tensor([(n - 1) // 2, n // 2], device=cumulated.device)
    median = (torch.searchsorted(cumulated, middle, right=True).double() + 0.5).mean() * BIN_DEG
    shares = 100 * pooled['below'].double() / n
    return dict(
        mean_angle=float(pooled['angle'] / n),
        rmse=float((pooled['angle_squared'] / n).sqrt()),
        median=float(median),
        **{f'below_{limit:g}': float(v) for limit, v in zip(_SHARES, shares, strict=True)},
    )
