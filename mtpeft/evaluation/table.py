"""The table of figures that an evaluation prints."""

from collections.abc import Collection, Mapping

from mtpeft.evaluation.delta import delta_per_task
from mtpeft.evaluation.describe import describe
from mtpeft.tasks import DenseTask

_HEADER = ('task', 'metric', 'value', 'unit', '', 'baseline', 'delta %')


def metrics_table(
    metrics: Mapping[str, float],
    tasks: Mapping[str, DenseTask],
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    untrained: Collection[str] = (),
    unjudged: Collection[str] = (),
) -> str:
    """An aligned table: task, metric, value, unit, direction, baseline, delta in percent.

    The headline metric, which enters Delta_m, is marked with ``*``. Arrows point to better.

    Args:
        metrics: Keyed ``'<task>/<metric>'``; ``'mtl/delta_m'`` closes the table. Other keys of
            no task are left out.
        tasks: The tasks, in their order.
        baselines: ``{task: {metric: value}}``; two columns are left out without them.
        untrained: Tasks that are marked as having had no label to learn from.
        unjudged: Further tasks of the model, of which it is said that they were not judged.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> print(metrics_table({'depth/rmse': .54}, build_tasks(['depth']),
        ...                     {'depth': {'rmse': .6}}))
        task   metric  value  unit     baseline  delta %
        depth  rmse*   0.540  m     ↓     0.600   +10.00
    """
    rows = [_HEADER]
    for name, task in tasks.items():
        found = {k[len(name) + 1 :]: v for k, v in metrics.items() if k.startswith(f'{name}/')}
        if not found:
            rows.append((name, '(no labels)', '', '', '', '', ''))
        for metric, value in found.items():
            baseline = ((baselines or {}).get(name) or {}).get(metric)
            rows.append(_row(task, metric, value, baseline))
        if name in untrained:
            rows.append((name, '(no training label)', '', '', '', '', ''))
    rows += [(name, '(not judged)', '', '', '', '', '') for name in sorted(unjudged)]
    if 'mtl/delta_m' in metrics:
        what = f'these {len(tasks)}' if unjudged else 'all'
        rows.append((what, 'delta_m', '', '', '↑', '', f'{metrics["mtl/delta_m"]:+.2f}'))
    return _align(rows if baselines else [row[:5] for row in rows])


def _row(task: DenseTask, metric: str, value: float, baseline: float | None) -> tuple[str, ...]:
    known = describe(task, metric)
    unit, arrow, delta = '', '', ''
    if known is not None:
        unit, arrow = known.unit or '', '↓' if known.lower_is_better else '↑'
        if baseline is not None and value == value:
            lower = {metric} if known.lower_is_better else set()
            delta = f'{delta_per_task({metric: value}, {metric: baseline}, lower)[metric]:+.2f}'
    star = '*' if metric == task.headline else ''
    shown = '' if baseline is None else _number(baseline, unit)
    return (task.name, metric + star, _number(value, unit), unit, arrow, shown, delta)


def _number(value: float, unit: str) -> str:
    return f'{value:.2f}' if unit in ('%', 'deg') else f'{value:.3f}'


def _align(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {2, 5, 6}
    lines = (
        '  '.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return '\n'.join(lines)
