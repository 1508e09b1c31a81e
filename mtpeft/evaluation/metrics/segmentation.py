"""Semantic segmentation."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from mtpeft.evaluation.functional import class_iou, segmentation_compute, segmentation_update
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.evaluation.functional.segmentation import ABSENT
from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.registry import METRICS
from mtpeft.tasks import DenseTask
from mtpeft.utils.suggest import hint


@METRICS.register_module()
class SegmentationMetric(DenseMetric):
    """Mean intersection over union and pixel accuracy of one confusion matrix over the set.

    ``mIoU = mean_c TP_c / (TP_c + FP_c + FN_c)`` over all classes, background included, and
    ``aAcc``, the share of pixels with the right class; both in percent, ignored pixels left out.

    Args:
        absent: A class that occurs in no label and no prediction of the whole set is left out of
            the mean (``'skip'``) or counts 0 (``'zero'``, as in the code released with MTLoRA,
            arXiv 2403.20320).
        per_class: Also report ``IoU/<class>`` for each class that occurs.
        task, collect_device, prefix, collect_dir: See :class:`DenseMetric`.

    Raises:
        ValueError: ``absent`` is unknown.

    Example:
        >>> import torch
        >>> from mtpeft.structures import MultiTaskDataSample
        >>> metric = SegmentationMetric(task=dict(type='semseg', num_classes=2))
        >>> sample = MultiTaskDataSample()
        >>> sample.set_gt('semseg', torch.tensor([[[0, 0, 1, 255]]]))
        >>> sample.set_pred('semseg', torch.tensor([[[0, 1, 1, 1]]]))
        >>> metric.process(None, [sample])
        >>> metric.evaluate(1)['semseg/mIoU']
        50.0
    """

    kinds = ('classes',)
    values = dict(mIoU=MetricValue('%', False), aAcc=MetricValue('%', False))

    def __init__(
        self,
        task: DenseTask | Mapping | str,
        absent: Literal['skip', 'zero'] = 'skip',
        per_class: bool = False,
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(task, collect_device, prefix, collect_dir)
        if absent not in ABSENT:
            raise ValueError(f"absent='{absent}' is unknown. " + hint(str(absent), ABSENT))
        self.absent = absent
        self.per_class = per_class

    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        return segmentation_update(pred[0], label[0], valid, self.task.channels)

    def compute(self, pooled: Statistics) -> dict[str, float]:
        figures = segmentation_compute(pooled, self.absent)
        if self.per_class:
            names = self.task.classes or range(self.task.channels)
            iou = class_iou(pooled['confusion']).tolist()
            # A class that never occurs has IoU NaN, which no logger can write.
            present = {f'IoU/{n}': v for n, v in zip(names, iou, strict=True) if v == v}
            figures.update(present)
        return figures
