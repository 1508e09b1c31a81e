"""One metric a task, and Delta_m over all of them."""

import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log

from mtpeft.evaluation.baselines import Baselines, resolve_baselines
from mtpeft.evaluation.delta import delta_per_task
from mtpeft.evaluation.describe import known_values, metric_class
from mtpeft.evaluation.table import metrics_table
from mtpeft.registry import EVALUATOR, METRICS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.suggest import hint


@EVALUATOR.register_module()
class MultiTaskEvaluator(Evaluator):
    """Evaluate every task with its own metric, then Delta_m over single-task baselines.

    ``Delta_m = 100 / T * sum_i (-1)^{l_i} (M_i - S_i) / S_i`` over the tasks' headline metrics.
    Keys: ``'<task>/<metric>'``, ``'mtl/delta/<task>'`` and ``'mtl/delta_m'`` (percent), so
    ``CheckpointHook(save_best='mtl/delta_m', rule='greater')`` keeps the best model. A task of
    which no picture has a label gives no figures, and then there is no Delta_m: never a mean over
    fewer tasks. One table is logged after each evaluation.

    MMEngine's Runner builds an evaluator of another type only from a dict with the key
    ``metrics``, so a config gives it even when it is empty::

        val_evaluator = dict(type='MultiTaskEvaluator', metrics=[], tasks=tasks, baselines=...)

    Args:
        metrics: Further metrics beside one for each task.
        tasks: What :func:`mtpeft.tasks.build_tasks` accepts.
        baselines: Single-task results: a dict from each task to the value of its headline metric
            (or to a dict of metrics), or the path of a ``.json`` or ``.py`` file with such a dict
            ``baselines``. ``None``: no Delta_m.

    Attributes:
        untrained: Names of tasks of which the training has seen no label
            (:class:`~mtpeft.hooks.SummaryHook` finds them). They are marked in the table and have
            no part in Delta_m.
        unjudged: Names of tasks that the model predicts and this evaluator has not: some of the
            tasks may be judged, and the table says which are not.

    Raises:
        ValueError: a task has no baseline, or one is for an unknown task or metric, is 0 or not
            finite; a task's headline is no value of its metric.

    Example:
        >>> evaluator = MultiTaskEvaluator(tasks=['semseg', 'depth'],
        ...                                baselines=dict(semseg=67.2, depth=.6))
        >>> [metric.prefix for metric in evaluator.metrics]
        ['semseg', 'depth']
    """

    def __init__(
        self,
        metrics: dict | BaseMetric | Sequence[dict | BaseMetric] | None = None,
        tasks: TaskSpec = (),
        baselines: Baselines | str | Path | None = None,
    ) -> None:
        self.tasks = build_tasks(tasks)
        self.untrained: frozenset[str] = frozenset()
        self.unjudged: frozenset[str] = frozenset()
        self.baselines = None if baselines is None else resolve_baselines(baselines, self.tasks)
        further = metrics or []
        if not isinstance(further, Sequence):
            further = [further]
        built = [METRICS.build(m) if isinstance(m, Mapping) else m for m in further]
        super().__init__([_task_metric(task) for task in self.tasks.values()] + built)

    def process(self, data_samples: Sequence, data_batch: Any = None) -> None:
        """Hand samples to the metrics; tasks that are predicted and not judged are noted."""
        for sample in data_samples:
            if isinstance(sample, MultiTaskDataSample):
                self.unjudged |= set(sample.pred) - set(self.tasks)
        super().process(data_samples, data_batch)

    def evaluate(self, size: int) -> dict[str, float]:
        """Figures of all metrics over ``size`` pictures, Delta_m, and the table in the log."""
        figures = super().evaluate(size)
        headlines = {name: figures.get(f'{name}/{t.headline}') for name, t in self.tasks.items()}
        if self.baselines is not None:
            figures.update(self._deltas(headlines))
        for name, value in headlines.items():
            if value is None:
                _warn(f"Task '{name}': no picture of this split has a valid label (of edges: with "
                      'an edge); no metrics.')  # fmt: skip
        print_log('\n' + self.table(figures), 'current')
        return figures

    def table(self, figures: Mapping[str, float] | None) -> str:
        """The figures as a table, with tasks marked that had no label to learn from."""
        return metrics_table(
            figures or {}, self.tasks, self.baselines, self.untrained, self.unjudged
        )

    def _deltas(self, headlines: dict[str, float | None]) -> dict[str, float]:
        usable = {k: v for k, v in headlines.items()
                  if v is not None and math.isfinite(v) and k not in self.untrained}  # fmt: skip
        if not usable:
            _warn('mtl/delta_m is not computed: no task has a result.')
            return {}
        gains = delta_per_task(
            usable,
            {name: self.baselines[name][self.tasks[name].headline] for name in usable},
            {name for name in usable if self.tasks[name].lower_is_better},
        )
        figures = {f'mtl/delta/{name}': gain for name, gain in gains.items()}
        without = [name for name in headlines if name not in usable]
        if without:
            _warn(
                f'mtl/delta_m is not computed: {", ".join(without)} gave no (finite) result, or '
                'had no label to learn from, and a mean over the others would be another quantity.'
            )
        else:
            figures['mtl/delta_m'] = sum(gains.values()) / len(gains)
        return figures


def _task_metric(task: DenseTask) -> BaseMetric:
    cfg = dict(task.metric)
    valid = known_values(task)
    if valid and task.headline not in valid:
        raise ValueError(
            f"Task '{task.name}': headline='{task.headline}' is no value of {cfg['type']}. "
            + hint(task.headline, valid)
        )
    if _accepts_task(metric_class(task)):
        cfg['task'] = task
    cfg.setdefault('prefix', task.name)
    return METRICS.build(cfg)


def _accepts_task(metric: type[BaseMetric]) -> bool:
    """Whether a constructor of the class takes ``task`` (metrics of other packages do not)."""
    return any(
        'task' in inspect.signature(base.__init__).parameters
        for base in metric.__mro__
        if '__init__' in vars(base)
    )


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)
