"""The overview of a suite: a row a method, a plot, and links to the runs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

from mtpeft.evaluation.delta import delta_m
from mtpeft.report.html import Html, join, table, tag
from mtpeft.report.plot import scatter
from mtpeft.report.run_files import RunFiles
from mtpeft.report.run_page import anchor
from mtpeft.report.sections import number

_SINGLE = 'single_task'


@dataclass
class Row:
    """A method.

    Attributes:
        label: Its name.
        runs: Its finished runs, a seed each.
        others: Its runs without a result.
        delta: Delta_m of each finished run.
    """

    label: str
    runs: list[RunFiles]
    others: list[RunFiles]
    delta: list[float]

    def values(self, task: str) -> list[float]:
        """The headline figure of a task, of each seed."""
        found = [run.result['headline'].get(task, {}).get('value') for run in self.runs]
        return [value for value in found if value is not None]

    @property
    def trainable(self) -> float | None:
        counts = [run.result['parameters']['trainable'] for run in self.runs]
        return statistics.fmean(counts) if counts else None


def rows_of(runs: Sequence[RunFiles]) -> tuple[list[Row], str]:
    """Rows of all methods, and over what their Delta_m is.

    Delta_m is over the means of the suite's single-task runs, where there is one of each task; else
    each run's own, over the baselines of its config.
    """
    baselines = _baselines(runs)
    rows: dict[str, Row] = {}
    for run in runs:
        label = run.recipe.get('label') or run.path.parent.name
        row = rows.setdefault(label, Row(label, [], [], []))
        (row.runs if run.result.get('headline') else row.others).append(run)
    own = False
    for row in rows.values():
        for run in row.runs:
            value, from_config = _delta(run, baselines)
            own |= from_config
            row.delta += [] if value is None else [value]
    over = "the baselines of the runs' configs" if own else "the suite's single-task runs"
    return list(rows.values()), over


def overview(runs: Sequence[RunFiles]) -> Html:
    """The table and the plot."""
    rows, over = rows_of(runs)
    headline: dict[str, dict] = {}
    for run in runs:
        headline |= {k: v for k, v in run.result.get('headline', {}).items() if k not in headline}
    header = ['method', *(_title(task, line) for task, line in headline.items()), 'Δm % ↑',
              'trainable', 'seeds']  # fmt: skip
    best = {task: _best(rows, task, line) for task, line in headline.items()}
    body = [_cells(row, headline, best) for row in rows]
    note = f'Mean ± standard deviation over seeds; bold is best. Δm is over {over}.'
    points = {
        row.label: (row.trainable / 1e6, statistics.fmean(row.delta), _deviation(row.delta))
        for row in rows if row.delta
    }  # fmt: skip
    plot = None
    if len(points) > 1:
        links = {row.label: f'#{run_anchor(row.runs[0])}' for row in rows if row.runs}
        title = 'Δm against trainable parameters'
        chart = scatter(title, points, 'trainable parameters (millions)', 'Δm (%)', links)
        plot = tag('div', chart, class_='charts wide')
    return join(table(header, body, numbers=1), tag('p', note, class_='note'), plot)


def run_anchor(run: RunFiles) -> str:
    """Where on the page a run is."""
    return anchor(f'{run.path.parent.name} {run.path.name}', 'run-')


def _cells(row: Row, headline: dict[str, dict], best: dict[str, float | None]) -> list:
    cells: list = [row.label]
    for task, line in headline.items():
        values = row.values(task)
        shown = _shown(values, line['unit'])
        top = values and best[task] is not None and statistics.fmean(values) == best[task]
        cells.append(tag('b', shown) if top else shown)
    delta = _shown(row.delta, '%', sign=True)
    seeds = [
        [tag('a', run.path.name.removeprefix('seed'), href=f'#{run_anchor(run)}'), ' ']
        for run in row.runs
    ]
    lost = [
        tag('a', f'{run.path.name.removeprefix("seed")} (no result)', href=f'#{run_anchor(run)}')
        for run in row.others
    ]
    count = '' if row.trainable is None else f'{row.trainable / 1e6:.3f} M'
    return [*cells, delta, count, join(seeds, lost)]


def _best(rows: Sequence[Row], task: str, line: dict) -> float | None:
    means = [statistics.fmean(row.values(task)) for row in rows if row.values(task)]
    return (min if line['lower_is_better'] else max)(means) if len(means) > 1 else None


def _baselines(runs: Sequence[RunFiles]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.recipe.get('role') == _SINGLE:
            for task, line in run.result.get('headline', {}).items():
                found.setdefault(task, []).append(line['value'])
    return {
        task: statistics.fmean(values) for task, values in found.items()
        if all(value is not None for value in values)
    }  # fmt: skip


def _delta(run: RunFiles, baselines: dict[str, float]) -> tuple[float | None, bool]:
    lines = run.result['headline']
    values = {task: line['value'] for task, line in lines.items()}
    if run.recipe.get('role') == _SINGLE:
        return None, False
    if set(values) <= set(baselines) and None not in values.values():
        lower = {task for task, line in lines.items() if line['lower_is_better']}
        return delta_m(values, {task: baselines[task] for task in values}, lower), False
    found = run.metrics.get('mtl/delta_m')
    return found, found is not None


def _title(task: str, line: dict) -> str:
    arrow = '↓' if line['lower_is_better'] else '↑'
    words = (task.replace('_', ' '), line['metric'], line['unit'], arrow)
    return ' '.join(word for word in words if word)


def _shown(values: Sequence[float], unit: str | None, sign: bool = False) -> str:
    if not values:
        return '-'
    mean = statistics.fmean(values)
    text = f'{mean:+.2f}' if sign else number(mean, unit)
    if len(values) == 1:
        return text
    return f'{text} ± {number(statistics.stdev(values), unit)}'


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else nan
