"""Surface normals."""

from torch import Tensor

from mtpeft.evaluation.functional import normals_compute, normals_update
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS


@METRICS.register_module()
class NormalsMetric(DenseMetric):
    """Angles between predicted and true normals, pooled over all valid pixels of the set.

    ``mean_angle`` (the figure that the tables of MTLoRA and its followers print as "rmse"), the
    true ``rmse = sqrt(mean angle^2)``, ``median`` (to .025 degrees) in degrees; ``below_11.25``,
    ``below_22.5``, ``below_30`` in percent of the pixels. Vectors may have any length; one of
    length 0 is 90 degrees off.

    Args:
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('normals', torch.tensor([0., 0., -1.]).view(3, 1, 1))
        >>> sample.set_pred('normals', torch.tensor([0., 1., -1.]).view(3, 1, 1))
        >>> metric = NormalsMetric(task='normals')
        >>> metric.process(None, [sample])
        >>> round(metric.evaluate(1)['normals/mean_angle'], 4)
        45.0
    """

    kinds = ('vectors',)
    values = {
        'mean_angle': MetricValue('deg', True),
        'rmse': MetricValue('deg', True),
        'median': MetricValue('deg', True),
        'below_11.25': MetricValue('%', False),
        'below_22.5': MetricValue('%', False),
        'below_30': MetricValue('%', False),
    }

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return normals_update(pred, label, valid)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        return normals_compute(pooled)
