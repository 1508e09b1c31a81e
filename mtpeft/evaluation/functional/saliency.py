"""Jaccard index and F-measure of a probability map over thresholds."""

from functools import cache

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics

BETA_SQUARED = 0.3
F_MEASURES = ('mean', 'even', 'pooled')


@cache
def saliency_thresholds() -> Tensor:
    """The protocol's 15 thresholds: .2, .25, ..., .9."""
    return torch.linspace(0.2, 0.9, 15, dtype=torch.float64)


@cache
def pooled_thresholds() -> Tensor:
    """The 19 thresholds .05, .1, ..., .95 of ``f_measure='pooled'``."""
    return torch.arange(0.05, 1, 0.05)


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
        ``jaccard``, ``precision``, ``recall`` ``(15,)``, ``pictures`` (1), and for
        ``f_measure='even'`` ``(15,)`` 1 where nothing was claimed and nothing to be found, in
        ``nothing``; for ``'pooled'`` counts of pixels ``(19,)`` ``pooled_hits`` and
        ``pooled_claimed``, and ``pooled_actual``.
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

    squashed = pred[valid].float().sigmoid()
    # the number of thresholds at or below: at t a pixel is claimed where t or more is reached
    bins = torch.bucketize(squashed, pooled_thresholds().to(pred.device), right=True)
    size = len(pooled_thresholds()) + 1
    return dict(
        jaccard=ratio(claimed + actual - hits),
        precision=ratio(claimed),
        recall=ratio(actual.expand_as(hits)),
        pictures=torch.ones((), dtype=torch.int64),
        nothing=nothing.long(),
        pooled_hits=_above(torch.bincount(bins[truth], minlength=size)).long(),
        pooled_claimed=_above(torch.bincount(bins, minlength=size)).long(),
        pooled_actual=actual,
    )


def _above(histogram: Tensor) -> Tensor:
    """Pixels above each threshold, from a histogram over the number of thresholds below."""
    return histogram.flip(0).cumsum(0).flip(0)[1:].double()


def saliency_compute(pooled: Statistics, f_measure: str = 'mean') -> dict[str, float]:
    """Saliency figures of a set: means over pictures, then the best threshold.

    ``mIoU = max_t mean_i J_i(t)``; ``maxF = max_t (1 + b) P(t) R(t) / (b P(t) + R(t))`` with

    * ``'mean'``: ``b = beta^2 = .3``, P and R the means over pictures of precision and recall;
    * ``'even'``: ``b = 1`` and the same means, in which a picture with nothing to find and nothing
      claimed has P = R = 0;
    * ``'pooled'``: ``b = .3``, P and R of all pixels of the set, at 19 thresholds of the sigmoid of
      the *probability*. That sigmoid lies between .5 and .73, so four thresholds tell anything.

    Args:
        pooled: The sum of :func:`saliency_update`.
        f_measure: Which of the three.

    Returns:
        ``mIoU`` and ``maxF`` in percent.
    """
    n = pooled['pictures']
    if f_measure == 'pooled':
        hits = pooled['pooled_hits'].double()
        precision = hits / pooled['pooled_claimed'].clamp(min=1)
        recall = hits / pooled['pooled_actual'].clamp(min=1)
    else:
        missing = pooled['nothing'] if f_measure == 'even' else 0
        precision, recall = ((pooled[key] - missing) / n for key in ('precision', 'recall'))
    beta = 1.0 if f_measure == 'even' else BETA_SQUARED
    weighted = beta * precision + recall
    best = ((1 + beta) * precision * recall / weighted.clamp(min=1e-12)).max()
    return dict(mIoU=100 * float((pooled['jaccard'] / n).max()), maxF=100 * float(best))
