"""Details of a test as plain lists and numbers, in a structure that stays."""

from collections.abc import Mapping, Sequence

from mtpeft.evaluation.describe import describe
from mtpeft.evaluation.details import Details, class_rows
from mtpeft.tasks import DenseTask


def as_json(
    details: Mapping[str, Details], tasks: Mapping[str, DenseTask], pictures: Sequence[str],
    number: int,
) -> dict:  # fmt: skip
    """Everything as plain lists and numbers; ``number`` worst and best pictures are named.

    Returns:
        ``version`` (1), ``pictures`` (names, in the order of the data set) and ``tasks``. Of each
        task: ``metric``, ``unit``, ``lower_is_better``, ``scores`` (by picture), ``worst`` and
        ``best`` (``index``, ``picture``, ``score``), and of classes ``classes`` (see
        :func:`class_rows`) and ``confusion`` (pixels; rows are true classes).
    """
    return dict(
        version=1, pictures=list(pictures),
        tasks={name: _task(details[name], tasks[name], pictures, number) for name in details},
    )  # fmt: skip


def _task(details: Details, task: DenseTask, pictures: Sequence[str], number: int) -> dict:
    worst, best = (
        [dict(index=i, picture=pictures[i], score=details.scores[i]) for i in found]
        for found in details.ranked(number, task.lower_is_better)
    )
    known = describe(task, task.headline)
    found = dict(
        metric=task.headline, unit=known.unit or '' if known else task.unit,
        lower_is_better=task.lower_is_better, scores=details.scores, worst=worst, best=best,
    )  # fmt: skip
    if details.confusion is not None:
        found |= dict(
            classes=class_rows(task, details.confusion), confusion=details.confusion.tolist()
        )  # fmt: skip
    return found
