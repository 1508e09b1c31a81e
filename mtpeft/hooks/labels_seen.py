"""Tasks of which a training sees no label."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mtpeft.utils.dist import unwrap

_KEY = 'untrained_tasks'


class LabelsSeen:
    """Counts labels before a training, looks for valid pixels in it, and remembers who had none.

    Only until each task has had one: after the first steps nothing is looked at any more.
    """

    def __init__(self) -> None:
        self.untrained: frozenset[str] = frozenset()
        self._unseen: dict[str, Any] = {}

    def start(self, runner: Runner) -> None:
        """Count the labels of the training set; a task without any is warned of."""
        tasks = getattr(unwrap(runner.model), 'tasks', None)
        self._unseen = dict(tasks) if isinstance(tasks, dict) else {}
        counts = count_labels(runner.train_dataloader.dataset)
        without = sorted(n for n in self._unseen if counts is not None and not counts.get(n, 0))
        for name in without:
            runner.logger.warning(
                f"Task '{name}': none of the {len(runner.train_dataloader.dataset)} training "
                'pictures has a label, so it learns nothing. It is marked in the results and has '
                'no part in Delta_m.'
            )
        self.untrained = frozenset(without)

    def look(self, batch: dict | None) -> None:
        """Strike off the tasks of which a batch has a valid pixel."""
        if not self._unseen or not isinstance(batch, dict):
            return
        for sample in batch.get('data_samples') or ():
            for name, task in list(self._unseen.items()):
                label = sample.get_gt(name) if hasattr(sample, 'get_gt') else None
                if label is not None and bool(task.valid(label, channel_axis=0).any()):
                    del self._unseen[name]

    def after_epoch(self, runner: Runner) -> None:
        """After the first epoch: a task whose labels said nothing in any process is warned of."""
        tasks = getattr(unwrap(runner.model), 'tasks', None)
        if not isinstance(tasks, dict):
            return
        seen = torch.tensor([float(name not in self._unseen) for name in tasks])
        all_reduce(seen)
        without = frozenset(n for n, count in zip(tasks, seen.tolist(), strict=True) if not count)
        for name in sorted(without - self.untrained):
            runner.logger.warning(
                f"Task '{name}': no label of this epoch has a valid pixel (one that is not "
                f'{tasks[name].ignore_value:g}), so it learns nothing. It is marked in the results '
                'and has no part in Delta_m. `mtpeft data check` looks at all labels.'
            )
        self.untrained = without

    def tell(self, evaluator: Evaluator) -> None:
        """Let an evaluator of several tasks know."""
        if hasattr(evaluator, 'untrained'):
            evaluator.untrained = self.untrained

    def save(self, checkpoint: dict) -> None:
        """Keep the names with the weights."""
        if self.untrained:
            checkpoint.setdefault('meta', {})[_KEY] = sorted(self.untrained)

    def load(self, checkpoint: dict) -> None:
        """Take the names of the run that made the weights."""
        self.untrained = frozenset((checkpoint.get('meta') or {}).get(_KEY) or ())


def count_labels(dataset: Dataset) -> dict[str, int] | None:
    """Pictures with a label by task, without reading any; ``None`` where a data set cannot say."""
    inner = getattr(dataset, 'datasets', None)
    parts = [count_labels(part) for part in inner] if inner else None
    if parts is not None:
        if None in parts:
            return None
        return {n: sum(p.get(n, 0) for p in parts) for n in {n for part in parts for n in part}}
    if hasattr(dataset, 'count_labels'):
        return dataset.count_labels()
    wrapped = getattr(dataset, 'dataset', None)
    return None if wrapped is None else count_labels(wrapped)
