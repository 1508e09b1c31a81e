"""What the metrics of dense tasks share: samples in, statistics a picture, pooled figures out."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mtpeft.evaluation.details import Details
from mtpeft.evaluation.functional import pool
from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.structures.multi_task_data_sample import MultiTaskDataSample, field_name
from mtpeft.tasks import DenseTask, build_tasks

# A picture without a label still takes its place in the results. Not None: MMEngine's
# collect_results drops None before it cuts off the padding of an uneven split, so that padded
# duplicates would count.
NO_LABEL: Statistics = {}


class MetricValue(NamedTuple):
    """Unit and direction of a figure, for reports. ``unit=None``: the task's."""

    unit: str | None
    lower_is_better: bool


class DenseMetric(BaseMetric):
    """Base of the metrics of one dense task.

    A subclass turns one picture into a dict of small tensors (:meth:`update`) and their sum over
    the set into figures (:meth:`compute`). One entry a picture is kept, so the padding that a
    distributed sampler adds to an uneven split is trimmed exactly. A picture without a label, or
    without a valid pixel, counts nowhere; a set without any gives no figures.

    Args:
        task: The task, or what :func:`mtpeft.tasks.build_tasks` accepts for one.
        collect_device: ``'gpu'`` gathers through the process group (NCCL or gloo), ``'cpu'``
            through files in a folder that all processes share.
        prefix: First part of the figures' keys. Default: the task's name.
        collect_dir: Folder for ``collect_device='cpu'``.

    Attributes:
        keep_details: Set to have ``details`` after each evaluation.
        details: Scores of single pictures, and the confusion matrix where there is one
            (:class:`~mtpeft.evaluation.details.Details`); in the first of several processes only.

    Raises:
        ValueError: the task's kind is not one the metric is made for.
    """

    keep_details = False
    details: Details | None = None
    kinds: ClassVar[tuple[str, ...]]
    values: ClassVar[dict[str, MetricValue]]

    def __init__(
        self,
        task: DenseTask | Mapping | str,
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        (self.task,) = build_tasks([task]).values()
        super().__init__(collect_device, prefix or self.task.name, collect_dir)
        if self.task.kind not in self.kinds:
            raise ValueError(
                f'{type(self).__name__} judges tasks of kind {" or ".join(map(repr, self.kinds))}, '
                f"but task '{self.task.name}' is of kind '{self.task.kind}'."
            )

    @abstractmethod
    def update(self, pred: Tensor, label: Tensor, valid: Tensor) -> Statistics:
        """Statistics of one picture: ``pred`` and ``label`` ``(C, H, W)``, ``valid`` ``(H, W)``.

        A ValueError raised here is raised again with the task and the picture named.
        """

    @abstractmethod
    def compute(self, pooled: Statistics) -> dict[str, float]:
        """Figures from the statistics summed over all pictures."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one entry for each of ``data_samples`` (samples, or their ``to_dict()``).

        Raises:
            KeyError: a picture has a label but no prediction.
            ValueError: sizes differ, or values are impossible; the picture is named.
        """
        self.results.extend(self._statistics(sample) for sample in data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Figures of the set; none where no picture has a valid label."""
        if self.keep_details:
            self.details = Details.of(results, self.compute, self.task.headline)
        labelled = [entry for entry in results if entry]
        return self.compute(pool(labelled)) if labelled else {}

    def _statistics(self, sample: dict | MultiTaskDataSample) -> Statistics:
        name = self.task.name
        label = _pixels(sample, 'gt', name)
        if label is None:
            return NO_LABEL
        pred = _pixels(sample, 'pred', name)
        where = f"Task '{name}', picture {_picture(sample)}"
        if pred is None:
            raise KeyError(
                f"{where}: there is a label but no prediction '{field_name('pred', name)}'. "
                "The model must be built with this task, or the evaluator's tasks without it."
            )
        label = label.to(pred.device)
        if pred.shape != label.shape:
            raise ValueError(
                f'{where}: the prediction {tuple(pred.shape)} and the label {tuple(label.shape)} '
                'must have the same size. Predictions are made in the size of the label '
                "('label_shape' of the sample's metainfo)."
            )
        valid = self.task.valid(label, channel_axis=0)
        if not valid.any():
            return NO_LABEL
        if pred.is_floating_point() and not pred[:, valid].isfinite().all():
            raise ValueError(f'{where}: the prediction has values that are NaN or infinite.')
        if self.task.kind == 'binary' and not ((label == 0) | (label == 1))[:, valid].all():
            raise ValueError(
                f'{where}: expected labels 0, 1 or {self.task.ignore_value:g} (ignored), '
                f'got values in {label.min():g}..{label.max():g}.'
            )
        try:
            statistics = self.update(pred, label, valid)
        except ValueError as error:
            raise ValueError(f'{where}: {error}.') from error
        return {key: value.detach().cpu() for key, value in statistics.items()}


def _pixels(sample: dict | MultiTaskDataSample, prefix: str, task: str) -> Tensor | None:
    pixels = sample.get(field_name(prefix, task))
    if pixels is None:
        return None
    data = pixels['data'] if isinstance(pixels, Mapping) else pixels.data
    return torch.as_tensor(data)


def _picture(sample: dict | MultiTaskDataSample) -> str:
    for key in ('img_path', 'img_id', 'sample_idx'):
        if (value := sample.get(key)) is not None:
            return f"'{value}'"
    return '(without a name)'
