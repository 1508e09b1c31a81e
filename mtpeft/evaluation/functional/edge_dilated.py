"""F-measure of edges by dilation, without thinning or matching, as forks of released code have it.

Every pixel of a thick prediction counts, and is right where the label has an edge within the
tolerance, so several may share one; a label pixel is found where any prediction is within it. The
benchmark of :mod:`mtpeft.evaluation.functional.edge` thins both and matches one to one: never
compare one with the other.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics


def dilated_edge_update(
    pred: Tensor, label: Tensor, valid: Tensor, thresholds: Sequence[float], max_dist: float
) -> Statistics:
    """Counts of one picture at each threshold.

    Args:
        pred: Probabilities ``(H, W)``.
        label: 0 or 1, ``(H, W)``.
        valid: Boolean mask ``(H, W)``; neither side counts elsewhere.
        thresholds: K thresholds; an edge is a probability of at least one.
        max_dist: The tolerance as a share of the diagonal, rounded to whole pixels, at least one.

    Returns:
        ``(K,)`` counts ``claimed``, ``hits``, ``actual`` and ``found``; ``best``, the picture's own
        best F, and ``pictures`` (1).
    """
    mask = valid.cpu().numpy()
    truth = (label.cpu().numpy() > 0) & mask
    strength = pred.detach().cpu().double().numpy()
    disk = _disk(max(1, round(max_dist * float(np.hypot(*truth.shape)))))
    near = _dilated(truth, disk)
    counts = np.zeros((4, len(thresholds)), np.int64)
    for k, threshold in enumerate(thresholds):
        claimed = (strength >= threshold) & mask
        reached = _dilated(claimed, disk)
        sides = claimed, claimed & near, truth, truth & reached
        counts[:, k] = [int(side.sum()) for side in sides]
    best = _f_measure(*counts)
    best[(counts[0] == 0) & (counts[2] == 0)] = 1.0
    names = ('claimed', 'hits', 'actual', 'found')
    return dict(
        zip(names, torch.from_numpy(counts), strict=True),
        best=torch.tensor(best.max(), dtype=torch.float64),
        pictures=torch.ones((), dtype=torch.int64),
    )


def dilated_edge_compute(pooled: Statistics) -> dict[str, float]:
    """F at the set's best threshold, and the mean of each picture's own best.

    P is 0 where nothing is claimed, R 1 where nothing is to be found.

    Args:
        pooled: The sum of :func:`dilated_edge_update`.

    Returns:
        ``odsF`` and ``oisF`` in percent; nothing where no picture has an edge.
    """
    if not pooled['actual'].any():
        return {}
    keys = ('claimed', 'hits', 'actual', 'found')
    ods = _f_measure(*(pooled[key].cpu().numpy() for key in keys)).max()
    return dict(odsF=100 * float(ods), oisF=100 * float(pooled['best'] / pooled['pictures']))


def _f_measure(
    claimed: np.ndarray, hits: np.ndarray, actual: np.ndarray, found: np.ndarray
) -> np.ndarray:
    precision = hits / np.maximum(claimed, 1)
    recall = np.where(actual > 0, found / np.maximum(actual, 1), 1.0)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def _disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x**2 + y**2 <= radius**2).astype(np.uint8)


def _dilated(mask: np.ndarray, disk: np.ndarray) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), disk).astype(bool)
