"""Labels without an object."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mtpeft.registry import TRANSFORMS
from mtpeft.tasks import DenseTask
from mtpeft.transforms.resample import map_labels
from mtpeft.utils.suggest import hint


@TRANSFORMS.register_module()
class MTIgnoreEmpty(BaseTransform):
    """Ignore a label in which nothing but class 0 is left.

    MTLoRA's released code (arXiv 2403.20320) does so with human parts at the end of its pipeline:
    a picture whose persons were turned or zoomed out of the frame then says nothing, while by
    default it says "no person here". Ignored pixels do not count.

    Args:
        tasks: Names of the tasks, of classes or of 0 and 1.

    Raises:
        ValueError: there is no task, or one has values or vectors for labels.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> results = dict(tasks=build_tasks(['human_parts']),
        ...                labels=dict(human_parts=np.array([[0, 0, 255]], np.uint8)))
        >>> MTIgnoreEmpty(tasks=['human_parts'])(results)['labels']['human_parts'].tolist()
        [[255, 255, 255]]
    """

    def __init__(self, tasks: Sequence[str] = ('human_parts',)) -> None:
        if not tasks or isinstance(tasks, str):
            raise ValueError(
                f"Expected `tasks` to be names of tasks, such as ['human_parts'], got {tasks!r}."
            )
        self.tasks = tuple(tasks)

    def transform(self, results: dict) -> dict:
        known = results['tasks']
        for name in self.tasks:
            if name not in known:
                raise ValueError(
                    f"MTIgnoreEmpty names the task '{name}', which the data set does not have. "
                    + hint(name, known)
                )
            if known[name].kind not in ('classes', 'binary'):
                raise ValueError(
                    f"MTIgnoreEmpty is for labels of classes, or of 0 and 1, but task '{name}' has "
                    f'{known[name].kind}, whose 0 is no class. Leave it out of `tasks`.'
                )
        map_labels(results, self._ignored)
        return results

    def _ignored(self, label: np.ndarray, task: DenseTask) -> np.ndarray:
        empty = task.name in self.tasks and not label[task.valid(label)].any()
        return np.full_like(label, task.ignore_value) if empty else label

    def __repr__(self) -> str:
        return f'MTIgnoreEmpty(tasks={list(self.tasks)})'
