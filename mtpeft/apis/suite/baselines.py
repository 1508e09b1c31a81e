"""What Delta_m is over: single-task runs of the suite, else the baselines that configs name."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmengine.config import Config

from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.evaluation import resolve_baselines
from mtpeft.tasks import build_tasks

RUNS, CONFIGS = 'runs', 'configs'


def baselines_of(cfg: Config) -> dict[str, dict[str, float]]:
    """The baselines that a config names, ``{task: {metric: value}}``; empty where it names none.

    Raises:
        Exception: what reading them raises, see :func:`mtpeft.evaluation.resolve_baselines`.
    """
    evaluator = cfg.get('val_evaluator')
    if not isinstance(evaluator, Mapping) or evaluator.get('baselines') is None:
        return {}
    if not evaluator.get('tasks'):
        return {}
    return resolve_baselines(evaluator['baselines'], build_tasks(evaluator['tasks']))


@dataclass(frozen=True)
class Baselines:
    """One value a task, and where it is from.

    Attributes:
        values: By task, of its headline metric.
        sources: By task, ``'runs'`` (mean over the seeds of its single-task runs) or
            ``'configs'``.
        disputed: Tasks whose configs name different values, with those.

    Example:
        >>> Baselines({'depth': 1.5}, {'depth': RUNS}, {}).lacking(['depth', 'edge'])
        ['edge']
    """

    values: dict[str, float]
    sources: dict[str, str]
    disputed: dict[str, tuple[float, ...]]

    @classmethod
    def of(cls, runs: Sequence[Run], headline: Mapping[str, Mapping]) -> 'Baselines':
        """From the runs of a table.

        Raises:
            ValueError: two single-task entries are of one task.
        """
        measured = {task: statistics.fmean(v) for task, v in single_values(runs).items()}
        named = {
            task: sorted(_named(runs, task, line['metric'])) for task, line in headline.items()
        }
        agreed = {task: found[0] for task, found in named.items() if len(found) == 1}
        values = {**agreed, **measured}
        return cls(
            {task: values[task] for task in headline if task in values},
            {task: RUNS if task in measured else CONFIGS for task in headline if task in values},
            {t: tuple(v) for t, v in named.items() if len(v) > 1 and t not in measured},
        )

    def lacking(self, tasks: Sequence[str]) -> list[str]:
        """Those of ``tasks`` that have no baseline."""
        return [task for task in tasks if task not in self.values]

    def of_source(self, source: str) -> dict[str, float]:
        """Those that are from runs, or from configs."""
        return {task: v for task, v in self.values.items() if self.sources[task] == source}


def single_values(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Headline of each task, one value a finished single-task run.

    Raises:
        ValueError: two single-task entries are of one task.
    """
    values: dict[str, list[float]] = {}
    owner: dict[str, str] = {}
    for run in runs:
        if run.entry.role != SINGLE_TASK or run.status != 'finished':
            continue
        for task, line in run.result['headline'].items():
            label = owner.setdefault(task, run.entry.label)
            if label != run.entry.label:
                raise ValueError(
                    f"'{label}' and '{run.entry.label}' are both single-task entries of "
                    f"'{task}'; Delta_m needs one. Name the one that counts, and leave the other "
                    'out.'
                )
            if line['value'] is not None:
                values.setdefault(task, []).append(line['value'])
    return values


def _named(runs: Sequence[Run], task: str, metric: str) -> set[float]:
    """What the configs of methods with results say of one task."""
    return {
        run.named[task][metric] for run in runs
        if run.entry.role != SINGLE_TASK and run.status == 'finished'
        and metric in run.named.get(task, {})
    }  # fmt: skip
