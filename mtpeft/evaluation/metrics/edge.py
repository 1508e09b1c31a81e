"""Edges."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from mtpeft.evaluation.functional import (
    dilated_edge_compute,
    dilated_edge_update,
    edge_compute,
    edge_update,
)
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS
from mtpeft.tasks import DenseTask
from mtpeft.utils.kinds import Positive, Size
from mtpeft.utils.suggest import hint

_COUNTINGS = ('benchmark', 'dilated')


@METRICS.register_module()
class EdgeMetric(DenseMetric):
    """F-measure of edges: one threshold for the set (``odsF``), or each picture's (``oisF``).

    After non-maximum suppression and thinning, predicted and label pixels within ``max_dist`` are
    matched one to one, as many as possible; counts are summed over pictures, ``F = 2 P R /
    (P + R)``, in percent. The benchmark is that of Martin et al. (PAMI 2004), for which the
    literature runs MATLAB code; this is another implementation, not compared with it picture by
    picture. Tolerance, measured on synthetic region boundaries (128 and 448 pixels, sharp to
    blurred and noisy): the matching is the exact maximum; 49 thresholds instead of 99 lose at most
    .3 points; ``exact=False``, where several pixels may share a partner, is 2 to 4 times quicker
    and never lower: by less than 1 point on sharp predictions, by up to 13 on blurred ones (20 at
    ``max_dist=.03``). Compare such figures only with each other.

    A picture whose label has no edge has false positives only; a set of such pictures has no
    figures, since nothing can be found (an empty prediction would be perfect).

    Args:
        max_dist: Largest distance of a match as a share of the picture's diagonal: .0075 for
            PASCAL, .011 for NYUD. Below a diagonal of ``1 / max_dist`` pixels (134 for .0075, a
            picture of 94 x 94) only the very same pixel matches: give small pictures more.
        thresholds: Number of thresholds, spread evenly inside 0..1.
        exact: Match one to one. ``False``: a pixel is right where any pixel of the other side is
            near enough.
        counting: ``'benchmark'``: as above. ``'dilated'``: no suppression, no thinning, no
            matching, as in forks of released code
            (:mod:`mtpeft.evaluation.functional.edge_dilated`): every pixel of at least a threshold
            counts, and is right within ``max_dist``, rounded to whole pixels. ``oisF`` is then the
            mean over pictures. The forks have 101 thresholds from 0 to 1: ``thresholds=99``.
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Raises:
        ValueError: ``max_dist`` is not a share between 0 and 1, ``thresholds`` is not positive,
            or ``counting`` is unknown, or does not match pixels as ``exact`` says.

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> label = torch.zeros(1, 32, 32, dtype=torch.int64)
        >>> label[:, :, 10] = 1
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('edge', label)
        >>> sample.set_pred('edge', label.roll(1, -1) * .8)
        >>> metric = EdgeMetric(task='edge', max_dist=.03)
        >>> metric.process(None, [sample])
        >>> metric.evaluate(1)['edge/odsF']
        100.0
    """

    kinds = ('binary',)
    values = dict(odsF=MetricValue('%', False), oisF=MetricValue('%', False))

    def __init__(
        self,
        task: DenseTask | Mapping | str,
        max_dist: Positive = 0.0075,
        thresholds: Size = 49,
        exact: bool = True,
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
        counting: Literal['benchmark', 'dilated'] = 'benchmark',
    ) -> None:
        super().__init__(task, collect_device, prefix, collect_dir)
        if not 0 <= max_dist < 1:
            raise ValueError(
                f'Expected max_dist as a share of the diagonal in 0..1, got {max_dist}.'
            )
        if not isinstance(thresholds, int) or thresholds < 1:
            raise ValueError(f'Expected thresholds to be a positive integer, got {thresholds!r}.')
        if counting not in _COUNTINGS:
            raise ValueError(
                f"counting='{counting}' is unknown. " + hint(str(counting), _COUNTINGS)
            )
        if counting == 'dilated' and not exact:
            raise ValueError(
                "exact=False is about how pixels are matched, and counting='dilated' matches none. "
                'Leave one of the two out.'
            )
        self.max_dist = max_dist
        self.counting = counting
        self.thresholds = np.linspace(0, 1, thresholds + 2)
        if counting == 'benchmark':
            self.thresholds = self.thresholds[1:-1]
        self.exact = exact

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        if self.counting == 'dilated':
            return dilated_edge_update(pred[0], label[0], valid, self.thresholds, self.max_dist)
        return edge_update(pred[0], label[0], valid, self.thresholds, self.max_dist, self.exact)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        dilated = self.counting == 'dilated'
        return dilated_edge_compute(pooled) if dilated else edge_compute(pooled)
