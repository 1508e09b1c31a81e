"""From the runs of a suite to one row a method."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtpeft.apis.suite.baselines import RUNS, Baselines
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK, Entry
from mtpeft.evaluation import delta_m


@dataclass(frozen=True)
class Stat:
    """Mean and standard deviation (of a sample, ``n - 1``) over seeds.

    Example:
        >>> Stat.of([1.0, 3.0])
        Stat(mean=2.0, std=1.4142135623730951, number=2)
    """

    mean: float
    std: float
    number: int
    values: tuple[float, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Stat':
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values), tuple(values))


@dataclass
class Row:
    """One method of the table.

    Attributes:
        metrics: By ``'<task>/<metric>'``.
        family: The folder of its config, which methods of one kind share.
        delta_m: Of each of the method's seeds, over the means of the single-task runs, or the
            baselines of the configs. So all rows have one baseline, however many seeds they have.
        delta_note: Why there is no Delta_m, or that it is of fewer seeds.
        parameters: ``trainable``, ``without_decoder``, ``without_decoder_and_unused``, and
            ``effective`` and ``effective_without_decoder`` after training without pruned
            components, the mean over seeds; of the single-task networks their sum.
        seconds_per_step: Mean over seeds of each run's median; of the single-task networks the
            sum of one step each.
        peak_memory_mb: Largest of all runs.
        seeds: Those that are finished.
        problems: Label, seed and reason of every run without a result.
    """

    label: str
    role: str
    family: str = ''
    metrics: dict[str, Stat] = field(default_factory=dict)
    delta_m: Stat | None = None
    delta_note: str = ''
    parameters: dict[str, int] = field(default_factory=dict)
    seconds_per_step: float | None = None
    peak_memory_mb: float | None = None
    seeds: tuple[int, ...] = ()
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """Rows, and what they are about.

    Attributes:
        rows: The single-task networks together, then the methods.
        headline: Of each task ``metric``, ``unit`` and ``lower_is_better``.
        baselines: What Delta_m is over.
    """

    rows: list[Row]
    headline: dict[str, dict]
    baselines: Baselines

    @property
    def measured(self) -> dict[str, dict[str, float]]:
        """``{task: {metric: mean over seeds}}`` of the single-task runs."""
        found = self.baselines.of_source(RUNS)
        return {task: {self.headline[task]['metric']: value} for task, value in found.items()}


def summarise(runs: Sequence[Run]) -> Summary:
    """One row a method from all runs of a suite.

    Raises:
        ValueError: runs judge a task by different headline metrics, or two single-task entries
            are of one task.
    """
    headline = _headline(runs)
    by_entry: dict[str, list[Run]] = {}
    for run in runs:
        by_entry.setdefault(run.entry.label, []).append(run)
    single = [group for group in by_entry.values() if group[0].entry.role == SINGLE_TASK]
    others = [group for group in by_entry.values() if group[0].entry.role != SINGLE_TASK]
    baselines = Baselines.of(runs, headline)
    rows = [_method_row(group, headline, baselines) for group in others]
    if single:
        rows.insert(0, _single_row(single, headline))
    return Summary(rows, headline, baselines)


def _headline(runs: Sequence[Run]) -> dict[str, dict]:
    known: dict[str, tuple[dict, Entry]] = {}
    # the columns have the order of the runs with most tasks
    for run in sorted(_finished(runs), key=lambda run: -len(run.result['headline'])):
        for task, line in run.result['headline'].items():
            kind = {key: line[key] for key in ('metric', 'unit', 'lower_is_better')}
            first, entry = known.setdefault(task, (kind, run.entry))
            if first != kind:
                raise ValueError(
                    f"Task '{task}' is judged by {first} in '{entry.label}' and by {kind} in "
                    f"'{run.entry.label}'; there is no Delta_m of different figures."
                )
    return {task: kind for task, (kind, _) in known.items()}


def _finished(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.status == 'finished']


def _value(run: Run, task: str) -> float | None:
    return run.result['headline'][task]['value'] if task in run.result['headline'] else None


def _base_row(label: str, role: str, runs: Sequence[Run]) -> Row:
    finished = _finished(runs)
    row = Row(label, role)
    names = {name: None for run in finished for name in run.result['metrics']}
    for name in names:
        values = [run.result['metrics'].get(name) for run in finished]
        values = [value for value in values if value is not None]
        # mtl/ is over the baselines that the config names, not over those of the suite
        if values and not name.startswith('mtl/'):
            row.metrics[name] = Stat.of(values)
    row.problems = [
        f'{run.entry.label} seed {run.seed} {run.status}: {run.reason}'
        for run in runs if run.status != 'finished'
    ]  # fmt: skip
    row.seeds = tuple(sorted({run.seed for run in finished}))
    if finished:
        row.peak_memory_mb = max(run.result['peak_memory_mb'] for run in finished)
    return row


def _single_row(groups: Sequence[Sequence[Run]], headline: Mapping[str, dict]) -> Row:
    row = _base_row(SINGLE_TASK, SINGLE_TASK, [run for group in groups for run in group])
    finished = [_finished(group) for group in groups]
    row.seeds = tuple(sorted(set.intersection(*({r.seed for r in runs} for runs in finished))))
    covered = {task for runs in finished for run in runs for task in run.result['headline']}
    # sums over some of the networks would be another quantity
    if all(finished) and covered.issuperset(headline):
        counts = [_parameters(runs) for runs in finished]
        row.parameters = {key: sum(c[key] for c in counts) for key in counts[0]}
        steps = [_seconds(runs) for runs in finished]
        row.seconds_per_step = None if None in steps else sum(steps)
        row.delta_m = Stat(0.0, math.nan, 1)
        row.delta_note = 'by definition'
    return row


def _method_row(
    runs: Sequence[Run], headline: Mapping[str, dict], baselines: Baselines
) -> Row:  # fmt: skip
    entry, finished = runs[0].entry, _finished(runs)
    row = _base_row(entry.label, entry.role, runs)
    row.family = Path(entry.config).resolve().parent.name
    if finished:
        row.parameters = _parameters(finished)
        row.seconds_per_step = _seconds(finished)
        row.delta_m, row.delta_note = _delta(finished, headline, baselines)
    return row


def _parameters(runs: Sequence[Run]) -> dict[str, int]:
    """Means over seeds, whose ranks may have shrunk differently."""
    counts = [_counts(run.result['parameters']) for run in runs]
    return {key: round(statistics.fmean(c[key] for c in counts)) for key in counts[0]}


def _counts(parameters: Mapping) -> dict[str, int]:
    counts = {key: value for key, value in parameters.items() if isinstance(value, int)}
    # results from before ranks could shrink do not say
    return dict(
        effective=counts['trainable'], effective_without_decoder=counts['without_decoder']
    ) | counts  # fmt: skip


def _seconds(runs: Sequence[Run]) -> float | None:
    values = [run.result['seconds_per_step'] for run in runs]
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else None


def _delta(
    finished: Sequence[Run], headline: Mapping[str, dict], baselines: Baselines
) -> tuple[Stat | None, str]:
    """Delta_m of every seed that has all tasks, over the baselines."""
    tasks = list(finished[0].result['headline'])
    without = [task for task in tasks if all(_value(run, task) is None for run in finished)]
    if lacking := baselines.lacking(tasks):
        return None, _no_baseline(lacking, baselines)
    if without:
        return None, f'no (finite) result of {", ".join(without)}'
    complete = {r.seed for r in finished if all(_value(r, task) is not None for task in tasks)}
    if not complete:
        return None, 'no seed has a (finite) result of every task'
    values = {task: baselines.values[task] for task in tasks}
    lower = {task for task in tasks if headline[task]['lower_is_better']}
    try:
        gains = [
            delta_m({task: _value(run, task) for task in tasks}, values, lower)
            for run in finished if run.seed in complete
        ]  # fmt: skip
    except ValueError as error:
        return None, str(error)
    fewer = complete != {run.seed for run in finished}
    return Stat.of(gains), f'of seeds {sorted(complete)} only' if fewer else ''


def _no_baseline(tasks: Sequence[str], baselines: Baselines) -> str:
    said = [
        f'{task} ({", ".join(f"{v:g}" for v in baselines.disputed[task])} in the configs)'
        if task in baselines.disputed else task for task in tasks
    ]  # fmt: skip
    return f'neither a single-task run nor one baseline in the configs of {", ".join(said)}'
