"""Each picture's own score, of a run's model on its validation pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from mtpeft.evaluation.functional import pool
from mtpeft.evaluation.metrics.base import DenseMetric
from mtpeft.registry import METRICS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask


@dataclass
class Scored:
    """Scores of pictures.

    Attributes:
        indices: Which pictures of the data set.
        scores: Of each task the headline metric of each of them alone, NaN without a label.
    """

    indices: Sequence[int]
    scores: dict[str, list[float]] = field(default_factory=dict)

    def worst(self, task: DenseTask, number: int) -> list[tuple[int, float]]:
        """Indices and scores of the worst pictures, the worst first.

        Example:
            >>> from mtpeft.tasks import build_tasks
            >>> depth = build_tasks(['depth'])['depth']
            >>> Scored([4, 7, 9], dict(depth=[0.1, float('nan'), 0.3])).worst(depth, 2)
            [(9, 0.3), (4, 0.1)]
        """
        pairs = zip(self.indices, self.scores[task.name], strict=True)
        judged = [(index, score) for index, score in pairs if isfinite(score)]
        sign = -1 if task.lower_is_better else 1
        return sorted(judged, key=lambda pair: (sign * pair[1], pair[0]))[:number]


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
    made = Scored(indices, {name: [] for name in metrics})
    for index in indices:
        (sample,) = predict(model, [dataset[index]])
        for name, metric in metrics.items():
            made.scores[name].append(_score(metric, sample))
    return made


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


def _score(metric: DenseMetric, sample: MultiTaskDataSample) -> float:
    metric.results.clear()
    try:
        metric.process(None, [sample.to_dict()])
    except KeyError:  # a label of a task that this model does not predict
        return float('nan')
    (entry,) = metric.results
    if not entry:
        return float('nan')
    return float(metric.compute(pool([entry])).get(metric.task.headline, float('nan')))
