"""Jaccard index and F-measure of a probability map over thresholds."""

from functools import cache

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics

BETA_SQUARED = 0.3


@cache
def saliency_thresholds() -> Tensor:
    """The protocol's 15 thresholds: .2, .25, ..., .9."""
    return torch.linspace(0.2, 0.9, 15, dtype=torch.float64)


def saliency_update(pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
    """Jaccard, precision and recall of one picture at 15 thresholds.

    A pixel is predicted salient where its probability is greater than the threshold. When neither
    the label nor the prediction has a salient pixel, all three are 1 (nothing to find, nothing
    claimed); otherwise a ratio with an empty denominator is 0.

    Args:
        pred: Probabilities, any shape.
        label: 0 or 1, ``pred``'s shape.
        valid: Boolean mask of that shape.

    Returns:
        ``jaccard``, ``precision``, ``recall`` ``(15,)`` and ``pictures`` (1).
    """
    thresholds = saliency_thresholds().to(pred.device)
    # The number of thresholds strictly below a probability: its bin.
    bins = torch.bucketize(pred[valid].double(), thresholds)
    truth = label[valid] > 0
    size = len(thresholds) + 1
    hits = _above(torch.bincount(bins[truth], minlength=size))
    claimed = _above(torch.bincount(bins, minlength=size))
    actual = truth.sum()
    nothing = (claimed + actual) == 0

    def ratio(denominator: Tensor) -> Tensor:
        return torch.where(nothing, 1.0, hits / denominator.clamp(min=1))

    return dict(
        jaccard=ratio(claimed + actual - hits),
        precision=ratio(claimed),
        recall=ratio(actual.expand_as(hits)),
        pictures=torch.ones((), dtype=torch.int64),
    )


def _above(histogram: Tensor) -> Tensor:
    """Pixels above each threshold, from a histogram over the number of thresholds below."""
    return histogram.flip(0).cumsum(0).flip(0)[1:].double()


def saliency_compute(pooled: Statistics) -> dict[str, float]:
    """Saliency figures of a set: means over pictures, then the best threshold.

    ``mIoU = max_t mean_i J_i(t)``; ``maxF = max_t (1 + b) P(t) R(t) / (b P(t) + R(t))`` with
    ``b = beta^2 = .3`` and P, R the means over pictures of precision and recall.

    Args:
        pooled: The sum of :func:`saliency_update`.

    Returns:
        ``mIoU`` and ``maxF`` in percent.
    """
    n = pooled['pictures']
    precision, recall = pooled['precision'] / n, pooled['recall'] / n
    weighted = BETA_SQUARED * precision + recall
    f_measure = (1 + BETA_SQUARED) * precision * recall / weighted.clamp(min=1e-12)
    return dict(
        mIoU=100 * float((pooled['jaccard'] / n).max()),
        maxF=100 * float(f_measure.max()),
    )
