"""Depth."""

from collections.abc import Mapping

from torch import Tensor

from mtpeft.evaluation.functional.depth import (
    CROPS,
    Crop,
    DepthProtocol,
    depth_compute,
    depth_update,
)
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS
from mtpeft.tasks import DenseTask
from mtpeft.utils.kinds import NotNegative, Positive
from mtpeft.utils.suggest import hint


@METRICS.register_module()
class DepthMetric(DenseMetric):
    """Depth errors, pooled over all valid pixels of the set.

    ``rmse = sqrt(mean (d - d*)^2)`` in metres, ``abs_rel = mean |d - d*| / d*``,
    ``log10 = mean |log10 d - log10 d*|`` (d of at least ``min_depth``, or 1 mm), and ``delta1``,
    ``delta2``, ``delta3``, the shares of pixels with max(d / d*, d* / d) below 1.25 and its second
    and third power, in percent.

    Published protocols judge a part of it: ``max_depth=10, min_depth=1e-3, crop='eigen'`` (NYUDv2),
    ``max_depth=80, min_depth=1e-3, crop='garg'`` (KITTI). All figures are pooled over the pixels of
    the set (some codes take the mean over pictures).

    Args:
        min_depth: In metres; labels at or below it are left out, predictions raised to it.
        max_depth: In metres; labels at or above it are left out, predictions lowered to it.
        crop: The part of the picture that counts: ``'eigen'`` (NYUDv2; a label of 425 x 560 is that
            crop already), ``'kitti_eigen'``, ``'garg'``, or (top, bottom, left, right) as shares of
            its height and width.
        median_scaling: Multiply each picture's prediction by median(d*) / median(d) first, for
            depth that is known but for a factor.
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Raises:
        ValueError: bounds or a crop that leave nothing; a label that counts is not positive, or
            with ``median_scaling`` the median of a prediction (the picture is named).

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
        rmse=MetricValue(None, True),
        abs_rel=MetricValue('', True),
        log10=MetricValue('', True),
        delta1=MetricValue('%', False),
        delta2=MetricValue('%', False),
        delta3=MetricValue('%', False),
    )

    def __init__(
        self,
        task: DenseTask | Mapping | str,
        min_depth: NotNegative | None = None,
        max_depth: Positive | None = None,
        crop: Crop | None = None,
        median_scaling: bool = False,
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(task, collect_device, prefix, collect_dir)
        crop = tuple(crop) if isinstance(crop, list) else crop
        self.protocol = DepthProtocol(min_depth, max_depth, crop, median_scaling)
        self._check()

    def _check(self) -> None:
        low, high, crop, _ = self.protocol
        if (low or 0) < 0 or (high is not None and high <= (low or 0)):
            raise ValueError(
                f'Expected 0 <= min_depth < max_depth, got min_depth={low}, max_depth={high}.'
            )
        if isinstance(crop, str) and crop not in CROPS:
            raise ValueError(f"crop='{crop}' is unknown. " + hint(crop, CROPS))
        if isinstance(crop, tuple):
            top, bottom, left, right = crop if len(crop) == 4 else (1, 0, 1, 0)
            if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
                raise ValueError(
                    'Expected crop to be (top, bottom, left, right) as shares between 0 and 1 of '
                    f'height and width, got {crop}.'
                )

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return depth_update(pred, label, valid, self.protocol)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        return depth_compute(pooled)
