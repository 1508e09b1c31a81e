"""Plots of sweeps."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_LABELS = dict(tasks='tasks', rank='rank', size='side of the picture')


def draw_sweep(result: Mapping, title: str = '') -> Figure:
    """Seconds against the value, with quartiles; dashed: the floor of the operations.

    Args:
        result: Of :func:`mtpeft.benchmark.sweep`.
        title: Of the figure.
    """
    rows = sorted(result['rows'], key=lambda row: row['value'])
    parts = [key for key in rows[0] if key != 'value']
    figure = Figure(figsize=(3.2 * len(parts), 3.2), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    x = [row['value'] for row in rows]
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        costs = [row[part] for row in rows]
        low, median, high = ([c['seconds'][k] for c in costs] for k in ('low', 'median', 'high'))
        axes.plot(x, median, 'o-', color='tab:blue', label='measured')
        axes.fill_between(x, low, high, color='tab:blue', alpha=0.2, linewidth=0)
        floors = [c['floor_seconds'] for c in costs]
        axes.plot(x, floors, '--', color='0.4', label='floor of its operations')
        axes.set(title=part, xlabel=_LABELS[result['sweep']], ylabel='seconds', xticks=x)
        if result['sweep'] == 'rank':
            axes.set_xscale('log', base=2)
            axes.set_xticks(x, [str(value) for value in x])
        axes.set_ylim(bottom=0)
        axes.grid(True, color='0.92')
    figure.axes[0].legend(fontsize='small')
    if title:
        figure.suptitle(title)
    return figure


def save_sweep(result: Mapping, path: Path | str, title: str = '') -> None:
    """Write the picture of :func:`draw_sweep`."""
    draw_sweep(result, title).savefig(path)
