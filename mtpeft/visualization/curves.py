"""Curves of several runs, a panel a quantity."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLUMNS = 3
_STYLES = ('-', '--', ':', '-.')

Points = tuple[Sequence[float], Sequence[float]]


def draw_curves(
    panels: Mapping[str, Mapping[str, Sequence[Points]]], x_label: str, smooth: int = 1
) -> Figure:
    """Draw each quantity of each run.

    Args:
        panels: By quantity and name of a run, the points of its curves (of several seeds: one
            each, which have one colour).
        x_label: Of all panels.
        smooth: Mean over so many points of a curve with at least three times as many.
    """
    names = list({name: None for runs in panels.values() for name in runs})
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.5 * columns, 2.6 * lines + 0.5), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    handles = {}
    for axes, (quantity, runs) in zip(grid, panels.items(), strict=False):
        for name, curves in runs.items():
            style = _style(names.index(name))
            for points in curves:
                (handles[name],) = _draw(axes, points, smooth, style)
        _decorate(axes, quantity, x_label)
    ends = [
        x for runs in panels.values() for curves in runs.values() for xs, _ in curves for x in xs
    ]
    for axes in grid[: len(panels)]:
        # one scale for all, so that a single evaluation stands where it was made
        axes.set_xlim(0, 1.03 * max(ends, default=1))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=max(ends, default=1) >= 3))
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.legend(
        handles.values(), handles.keys(), loc='outside lower center', fontsize=8, frameon=False,
        ncols=min(4, len(handles)),
    )  # fmt: skip
    return figure


def smoothed(points: Points, window: int) -> Points:
    """Means over ``window`` neighbours: positions and values; short curves stay as they are.

    Example:
        >>> smoothed(([1, 2, 3, 4, 5, 6], [0, 2, 4, 6, 8, 10]), 2)
        ([1.5, 2.5, 3.5, 4.5, 5.5], [1.0, 3.0, 5.0, 7.0, 9.0])
    """
    if window <= 1 or len(points[0]) < 3 * window:
        return points
    x, y = (
        [sum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
        for values in points
    )
    return x, y


def _draw(axes: Axes, points: Points, smooth: int, style: dict) -> list:
    x, y = smoothed(points, smooth)
    # a curve of a few evaluations is points first of all
    marker = 'o' if len(x) <= 12 else None
    return axes.plot(x, y, linewidth=1.3, marker=marker, markersize=3.5, **style)


def _decorate(axes: Axes, quantity: str, x_label: str) -> None:
    axes.set_title(quantity, fontsize=9)
    axes.set_xlabel(x_label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(True, color='0.93')
    axes.spines[['top', 'right']].set_visible(False)


def _style(number: int) -> dict:
    colours = matplotlib.colormaps['tab10'].colors
    return dict(
        color=colours[number % len(colours)],
        linestyle=_STYLES[number // len(colours) % len(_STYLES)],
    )
