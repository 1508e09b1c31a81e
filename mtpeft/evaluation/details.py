"""What a test knows beside its figures: each picture's score, and each class's."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics, pool
from mtpeft.evaluation.functional.segmentation import class_iou
from mtpeft.tasks import DenseTask
from mtpeft.utils.tables import table


@dataclass(frozen=True)
class Details:
    """Of one task over one test set.

    Attributes:
        scores: The headline metric of each picture alone, in the order of the data set; ``None``
            where a picture has no label (of edges: no edge).
        confusion: Pixels by true class (rows) and predicted class, ``None`` where there are none.

    Example:
        >>> Details([3., None, 1., 2.], None).ranked(2, lower_is_better=True)
        ([0, 3], [2, 3])
    """

    scores: list[float | None]
    confusion: Tensor | None = None

    @classmethod
    def of(
        cls, entries: Sequence[Statistics], compute: Callable[[Statistics], Mapping], headline: str
    ) -> 'Details':
        """From what a metric keeps of each picture, and its own way to figures."""
        scores = [finite(compute(pool([e])).get(headline)) if e else None for e in entries]
        labelled = [entry for entry in entries if entry]
        has_classes = bool(labelled) and 'confusion' in labelled[0]
        return cls(scores, pool(labelled)['confusion'] if has_classes else None)

    def ranked(self, number: int, lower_is_better: bool) -> tuple[list[int], list[int]]:
        """Positions of the ``number`` worst pictures, the worst first, and of the best."""
        judged = [i for i, score in enumerate(self.scores) if score is not None]
        sign = 1 if lower_is_better else -1
        # of equal scores the earlier picture comes first, in both lists
        worst = sorted(judged, key=lambda i: (-sign * self.scores[i], i))
        best = sorted(judged, key=lambda i: (sign * self.scores[i], i))
        return worst[:number], best[:number]


def class_names(task: DenseTask) -> list[str]:
    """Names of a task's classes, their numbers where it names none."""
    return [str(name) for name in task.classes or range(task.channels)]


def class_rows(task: DenseTask, confusion: Tensor) -> list[dict]:
    """Of each class: ``name``, ``IoU``, ``accuracy``, ``precision`` (percent), ``pixels``.

    ``IoU = TP / (TP + FP + FN)``, ``accuracy = TP / (TP + FN)`` (the share of the class's pixels
    that were found), ``precision = TP / (TP + FP)``; ``None`` where the denominator is 0.
    ``pixels`` are those of the labels.
    """
    hits = confusion.diagonal().double()
    actual, claimed = confusion.sum(1), confusion.sum(0)
    columns = (class_iou(confusion), 100 * hits / actual, 100 * hits / claimed)
    values = zip(*(column.tolist() for column in columns), actual.tolist(), strict=True)
    return [
        dict(name=name, IoU=finite(iou), accuracy=finite(accuracy), precision=finite(precision),
             pixels=pixels)
        for name, (iou, accuracy, precision, pixels) in zip(class_names(task), values, strict=True)
    ]  # fmt: skip


def class_table(task: DenseTask, confusion: Tensor) -> str:
    """The rows of :func:`class_rows` as text; classes that occur nowhere are named below."""
    header = [f'{task.name}: class', 'IoU %', 'accuracy %', 'precision %', 'pixels']
    keys = ('IoU', 'accuracy', 'precision', 'pixels')
    found = class_rows(task, confusion)
    rows = [[row['name'], *('-' if row[key] is None else row[key] for key in keys)]
            for row in found if row['IoU'] is not None]  # fmt: skip
    absent = [row['name'] for row in found if row['IoU'] is None]
    below = f'\nIn no label and no prediction: {", ".join(absent)}' if absent else ''
    return table(header, rows) + below


def finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
