"""Each picture's own score, of a run's model on its validation pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from mtpeft.evaluation.details import Details
from mtpeft.evaluation.metrics.base import DenseMetric
from mtpeft.registry import METRICS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask


@dataclass
class Scored:
    """Scores of pictures.

    Attributes:
        indices: Which pictures of the data set.
        details: Of each task the headline metric of each of them alone.
    """

    indices: Sequence[int]
    details: Mapping[str, Details]

    def worst(self, task: DenseTask, number: int) -> list[tuple[int, float]]:
        """Indices and scores of the worst pictures, the worst first.

        Example:
            >>> from mtpeft.tasks import build_tasks
            >>> depth = build_tasks(['depth'])['depth']
            >>> Scored([4, 7, 9], dict(depth=Details([0.1, None, 0.3]))).worst(depth, 2)
            [(9, 0.3), (4, 0.1)]
        """
        details = self.details[task.name]
        worst, _ = details.ranked(number, task.lower_is_better)
        return [(self.indices[place], details.scores[place]) for place in worst]


def predict(model: nn.Module, items: Sequence[dict]) -> list[MultiTaskDataSample]:
    """Samples with labels and predictions of what a data set gives."""
    with torch.no_grad():
        data = model.data_preprocessor(pseudo_collate(list(items)), False)
        return [sample.cpu() for sample in model(**data, mode='predict')]


def score(model: nn.Module, dataset: Any, indices: Sequence[int]) -> Scored:
    """Judge pictures one by one, by the metrics of the model's tasks.

    Tasks whose metric keeps nothing of a single picture (those of other packages) are left out.
    """
    metrics = _metrics(model.tasks)
    for index in indices:
        (sample,) = predict(model, [dataset[index]])
        for metric in metrics.values():
            metric.process(None, [sample.to_dict()])
    return Scored(indices, {
        name: Details.of(metric.results, metric.compute, metric.task.headline)
        for name, metric in metrics.items()
    })  # fmt: skip


def spread(length: int, number: int) -> list[int]:
    """``number`` positions spread evenly over a data set.

    Example:
        >>> spread(101, 3)
        [0, 50, 100]
    """
    return sorted(set(np.linspace(0, length - 1, min(number, length)).round().astype(int).tolist()))


def _metrics(tasks: Mapping[str, DenseTask]) -> dict[str, DenseMetric]:
    built = {}
    for name, task in tasks.items():
        kind = METRICS.get(str(task.metric.get('type')))
        if kind is not None and issubclass(kind, DenseMetric):
            built[name] = METRICS.build(dict(task.metric) | dict(task=task))
    return built
