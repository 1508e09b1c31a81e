"""Depth."""

from torch import Tensor

from mtpeft.evaluation.functional import depth_compute, depth_update
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS


@METRICS.register_module()
class DepthMetric(DenseMetric):
    """Depth errors, pooled over all valid pixels of the set.

    ``rmse = sqrt(mean (d - d*)^2)`` in metres, ``abs_rel = mean |d - d*| / d*``, ``delta1``, the
    share of pixels with max(d / d*, d* / d) < 1.25, in percent.

    Args:
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Raises:
        ValueError: a valid label is not positive (the picture is named).

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('depth', torch.tensor([[[2., 4., 0.]]]))
        >>> sample.set_pred('depth', torch.tensor([[[2., 6., 9.]]]))
        >>> metric = DepthMetric(task='depth')
        >>> metric.process(None, [sample])
        >>> metric.evaluate(1)['depth/abs_rel']
        0.25
    """

    kinds = ('values',)
    values = dict(
        rmse=MetricValue(None, True), abs_rel=MetricValue('', True), delta1=MetricValue('%', False)
    )

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return depth_update(pred, label, valid)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        return depth_compute(pooled)
