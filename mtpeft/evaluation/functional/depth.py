"""Errors of depth in metres."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics

Crop = Literal['eigen', 'kitti_eigen', 'garg'] | tuple[float, float, float, float]

#: top, bottom, left and right of what is judged, as shares of height and width
CROPS: dict[str, tuple[float, float, float, float]] = {
    # of NYUDv2: rows 45 to 471 and columns 41 to 601 of 480 x 640
    'eigen': (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    'kitti_eigen': (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
#: labels of NYUDv2 as the multi-task benchmark has them: that crop already
CROPPED = (425, 560)
#: log10 has no value at 0
_LEAST = 1e-3


class DepthProtocol(NamedTuple):
    """What of a depth map is judged, and how predictions are prepared.

    Attributes:
        min_depth: Labels at or below it are left out, predictions below it are raised to it.
        max_depth: Labels at or above it are left out, predictions above it are lowered to it.
        crop: See :func:`judged`.
        median_scaling: Multiply each prediction by median(label) / median(prediction) first.
    """

    min_depth: float | None = None
    max_depth: float | None = None
    crop: Crop | None = None
    median_scaling: bool = False


def judged(label: Tensor, valid: Tensor, protocol: DepthProtocol) -> Tensor:
    """The pixels ``(H, W)`` that count: valid, between the bounds, within the crop.

    A crop is ``'eigen'`` (NYUDv2; a label of 425 x 560 is that crop already, and is judged whole),
    ``'kitti_eigen'``, ``'garg'`` (KITTI), or (top, bottom, left, right) as shares of height and
    width. Rows and columns are cut to whole numbers, as in the code of those protocols.

    Example:
        >>> label = torch.tensor([[[.5, 2., 10., 80.]]])
        >>> judged(label, label[0] > 0, DepthProtocol(max_depth=80., crop=(0, 1, .25, 1)))
        tensor([[False,  True,  True, False]])
    """
    mask = valid.clone()
    if protocol.min_depth is not None:
        mask &= (label > protocol.min_depth).all(0)
    if protocol.max_depth is not None:
        mask &= (label < protocol.max_depth).all(0)
    size = tuple(mask.shape)
    if protocol.crop is None or (protocol.crop == 'eigen' and size == CROPPED):
        return mask
    shares = CROPS[protocol.crop] if isinstance(protocol.crop, str) else protocol.crop
    # (45 / 480 * 480 may be a rounding below 45)
    top, bottom, left, right = (
        int(share * side + 1e-6) for share, side in zip(shares, (size[0],) * 2 + (size[1],) * 2,
                                                        strict=True)
    )  # fmt: skip
    inside = torch.zeros_like(mask)
    inside[top:bottom, left:right] = True
    return mask & inside


def depth_update(
    pred: Tensor, label: Tensor, valid: Tensor, protocol: DepthProtocol | None = None
) -> Statistics:  # fmt: skip
    """Error sums of one picture.

    Args:
        pred: ``(C, H, W)`` in metres.
        label: ``(C, H, W)`` in metres.
        valid: Boolean mask ``(H, W)``.
        protocol: What counts, and how predictions are prepared. Default: all, as they are.

    Returns:
        ``pixels``; ``squared`` (sum of squared errors, m^2); ``relative`` (sum of |error| /
        label); ``log10`` (sum of |log10 pred - log10 label|, predictions of at least ``min_depth``
        or 1 mm); ``delta1``, ``delta2``, ``delta3``, pixels with max(pred / label, label / pred)
        below 1.25 and its powers. Nothing where no pixel counts.

    Raises:
        ValueError: a label that counts is not positive; with ``median_scaling``, the median of the
            prediction is not.
    """
    protocol = protocol or DepthProtocol()
    mask = judged(label, valid, protocol)
    guess, truth = pred[:, mask].double(), label[:, mask].double()
    if not truth.numel():
        return {}
    if truth.min() <= 0:
        raise ValueError(f'expected positive depths, got a label of {float(truth.min()):g}')
    guess = _prepared(guess, truth, protocol)
    error = guess - truth
    # Written without a division by the prediction, which may be 0 or negative.
    close = {f'delta{i}': ((guess < 1.25**i * truth) & (truth < 1.25**i * guess)).sum()
             for i in (1, 2, 3)}  # fmt: skip
    logs = guess.clamp_min(protocol.min_depth or _LEAST).log10() - truth.log10()
    return dict(
        pixels=torch.tensor(truth.numel()),
        squared=error.square().sum(),
        relative=(error.abs() / truth).sum(),
        log10=logs.abs().sum(),
        **close,
    )


def _prepared(guess: Tensor, truth: Tensor, protocol: DepthProtocol) -> Tensor:
    if protocol.median_scaling:
        middle = _median(guess)
        if middle <= 0:
            raise ValueError(
                f'median_scaling needs a prediction with a positive median, got {float(middle):g}'
            )
        guess = guess * (_median(truth) / middle)
    if protocol.min_depth is None and protocol.max_depth is None:
        return guess
    return guess.clamp(protocol.min_depth, protocol.max_depth)


def _median(x: Tensor) -> Tensor:
    """The mean of the two in the middle, as NumPy's; torch takes the lower one."""
    x = x.flatten().sort().values
    return (x[(len(x) - 1) // 2] + x[len(x) // 2]) / 2


def depth_compute(pooled: Statistics) -> dict[str, float]:
    """Figures pooled over all pixels of the set that count.

    Args:
        pooled: The sum of :func:`depth_update`.

    Returns:
        ``rmse`` in metres, ``abs_rel`` (a ratio), ``log10``, and ``delta1``, ``delta2``,
        ``delta3`` in percent of the pixels.
    """
    n = int(pooled['pixels'])
    return dict(
        rmse=float((pooled['squared'] / n).sqrt()),
        abs_rel=float(pooled['relative'] / n),
        log10=float(pooled['log10'] / n),
        **{f'delta{i}': 100 * float(pooled[f'delta{i}']) / n for i in (1, 2, 3)},
    )
