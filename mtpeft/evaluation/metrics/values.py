"""Regression tasks of any kind."""

from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.functional.values import values_compute, values_update
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS


@METRICS.register_module()
class ValuesMetric(DenseMetric):
    """Mean absolute and root mean square error of a ``values`` task of your own.

    ``mae = mean |v - v*|``, ``rmse = sqrt(mean (v - v*)^2)``, in the label's unit, pooled over
    the channels of all valid pixels of the set.

    Args:
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> from mtpeft.tasks import DenseTask
        >>> shading = DenseTask(name='shading', kind='values', channels=1, ignore_value=-1,
        ...                     loss=dict(type='MaskedL1Loss'), metric=dict(type='ValuesMetric'),
        ...                     headline='mae', lower_is_better=True)
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('shading', torch.tensor([[[0., .5, -1.]]]))
        >>> sample.set_pred('shading', torch.tensor([[[.5, .5, 9.]]]))
        >>> metric = ValuesMetric(task=shading)
        >>> metric.process(None, [sample])
        >>> metric.evaluate(1)['shading/mae']
        0.25
    """

    kinds = ('values',)
    values = dict(mae=MetricValue(None, True), rmse=MetricValue(None, True))

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return values_update(pred, label, valid)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        return values_compute(pooled)
