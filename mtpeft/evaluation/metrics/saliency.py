"""Saliency."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from mtpeft.evaluation.functional import saliency_compute, saliency_update
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.functional.saliency import F_MEASURES
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS
from mtpeft.tasks import DenseTask
from mtpeft.utils.suggest import hint


@METRICS.register_module()
class SaliencyMetric(DenseMetric):
    """Jaccard index and F-measure, averaged over pictures, at the best of 15 thresholds.

    For t in .2, .25, ..., .9: J_i(t), P_i(t), R_i(t) of picture i. ``mIoU = max_t mean_i J_i(t)``
    (the "mIoU" of the saliency tables, Maninis et al., arXiv 1904.08918); ``maxF = max_t 1.3 P R /
    (.3 P + R)`` with P and R the means over pictures (beta^2 = .3). Both in percent. A picture
    where neither label nor prediction has a salient pixel scores 1.

    Three figures are called maxF in this field; none of them is a headline of the tables.

    Args:
        f_measure: ``'mean'``: as above. ``'even'``: ``2 P R / (P + R)``, the "maxF" that MTLoRA's
            released code prints (arXiv 2403.20320). ``'pooled'``: its "Beta maxF", beta^2 = .3 of
            the pixels of the whole set at thresholds of a sigmoid that is taken twice. See
            :func:`~mtpeft.evaluation.functional.saliency_compute`.
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Raises:
        ValueError: ``f_measure`` is unknown.

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('sal', torch.tensor([[[0, 0, 1, 1]]]))
        >>> sample.set_pred('sal', torch.tensor([[[.1, .6, .7, .8]]]))
        >>> metric = SaliencyMetric(task='sal')
        >>> metric.process(None, [sample])
        >>> metric.evaluate(1)['sal/mIoU']
        100.0
    """

    kinds = ('binary',)
    values = dict(mIoU=MetricValue('%', False), maxF=MetricValue('%', False))

    def __init__(
        self,
        task: DenseTask | Mapping | str,
        f_measure: Literal['mean', 'even', 'pooled'] = 'mean',
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(task, collect_device, prefix, collect_dir)
        if f_measure not in F_MEASURES:
            raise ValueError(
                f"f_measure='{f_measure}' is unknown. " + hint(str(f_measure), F_MEASURES)
            )
        self.f_measure = f_measure

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return saliency_update(pred[0], label[0], valid)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        return saliency_compute(pooled, self.f_measure)
