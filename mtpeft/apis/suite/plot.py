"""Delta_m against trainable parameters, with the methods that none beats in both."""

import io
import math
from collections.abc import Sequence

import matplotlib
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mtpeft.apis.suite.pareto import pareto_front
from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.apis.suite.summary import Row

#: what two families of one colour differ in
_MARKERS = 'osDv^PXp'
_SINGLE = dict(color='0.35', marker='D')
_DPI = 160
#: pixels of a point of 1/72 inch
_DOTS = _DPI / 72
#: text stays text in a PDF, and a file is the same each time it is made
_SETTINGS = {'pdf.fonttype': 42, 'svg.hashsalt': 'mtpeft'}
KINDS = {'png': {}, 'pdf': dict(CreationDate=None, ModDate=None), 'svg': dict(Date=None)}


def plot_delta(rows: Sequence[Row], title: str) -> dict[str, bytes]:
    """The picture of :func:`draw_delta` as ``'png'``, ``'pdf'`` and ``'svg'``."""
    files = {}
    with matplotlib.rc_context(_SETTINGS):
        figure = draw_delta(rows, title)
        for kind, metadata in KINDS.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata)
            files[kind] = buffer.getvalue()
    return files


def draw_delta(rows: Sequence[Row], title: str) -> Figure:
    """Draw the rows that have a Delta_m.

    Parameters are on a logarithmic axis. Methods of one family (the folder of their configs) have
    one colour; bars are the standard deviation over seeds. The dashed line is Delta_m 0, the
    single-task networks. The stepped line is the Pareto front: no other method has both fewer
    parameters and a higher Delta_m than one on it.
    """
    rows = [row for row in rows if row.delta_m is not None and row.parameters]
    # room for the labels: the page grows with their number
    grown = math.sqrt(max(1, len(rows) / 14))
    figure = Figure(figsize=(6.4 * grown, 4.4 * grown), dpi=_DPI, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    styles = family_styles(rows)
    points = [(row.parameters['trainable'] / 1e6, row.delta_m.mean) for row in rows]
    for row, point in zip(rows, points, strict=True):
        _point(axes, row, point, styles)
    axes.axhline(0, color='0.55', linestyle='--', linewidth=1, zorder=1.5)
    _decorate(axes, title)
    _front(axes, points)
    _legend(axes, styles, sum(row.role != SINGLE_TASK for row in rows))
    _label(axes, rows, points, styles)
    return figure


def family_styles(rows: Sequence[Row]) -> dict[str, dict]:
    """Colour and marker of each family, no two alike up to 160 of them."""
    families = list({row.family: None for row in rows if row.role != SINGLE_TASK})
    colours = matplotlib.colormaps['tab20' if len(families) > 10 else 'tab10'].colors
    return {
        family: dict(
            color=colours[number % len(colours)],
            marker=_MARKERS[number // len(colours) % len(_MARKERS)],
        )
        for number, family in enumerate(families)
    }  # fmt: skip


def _point(
    axes: Axes, row: Row, point: tuple[float, float], styles: dict[str, dict]
) -> None:  # fmt: skip
    style = _SINGLE if row.role == SINGLE_TASK else styles[row.family]
    error = None if math.isnan(row.delta_m.std) else row.delta_m.std
    pale = (*matplotlib.colors.to_rgb(style['color']), 0.5)
    axes.errorbar(
        *point, yerr=error, fmt='none', ecolor=pale, capsize=2.5, elinewidth=1, zorder=3
    )  # fmt: skip
    axes.plot(*point, **style, markersize=6, markeredgecolor='white', markeredgewidth=0.6, zorder=6)


def _decorate(axes: Axes, title: str) -> None:
    axes.set_xscale('log')
    axes.margins(0.12)
    axes.set(xlabel='trainable parameters (millions)', ylabel='Δm over single-task (%)',
             title=title)  # fmt: skip
    low, high = axes.get_xlim()
    marks = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5)
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter('')
    axes.grid(True, which='major', color='0.93')
    axes.spines[['top', 'right']].set_visible(False)


def _front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    front = pareto_front(points)
    # what has more parameters reaches the highest Delta_m as well
    right = axes.get_xlim()[1]
    x, y = zip(*front, (right, front[-1][1]), strict=True)
    axes.step(x, y, where='post', color='0.45', linewidth=1.2, zorder=2, label='Pareto front')
    axes.set_xlim(right=right)


def _legend(axes: Axes, styles: dict[str, dict], number: int) -> None:
    """What the colours mean, where a family has several methods; else the labels say it."""
    handles, names = axes.get_legend_handles_labels()
    if 1 < len(styles) < number:
        for family, style in styles.items():
            handles += axes.plot([], [], linestyle='', markersize=6, **style)
            names.append(family)
    place = dict(loc='upper left', bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    axes.legend(
        handles, names, fontsize=8, frameon=False, **(place if len(names) > 1 else dict(loc='best'))
    )  # fmt: skip


def _label(
    axes: Axes,
    rows: Sequence[Row],
    points: Sequence[tuple[float, float]],
    styles: dict[str, dict],
) -> None:
    """Write the names, moved apart by adjustText, with a line where one is far from its point."""
    figure = axes.figure
    # the layout decides where points are on the page
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    texts = [
        axes.text(
            *point, row.label, fontsize=8, zorder=4, color=_dark(row, styles),
            bbox=dict(boxstyle='square,pad=0.05', facecolor='white', alpha=0.7, linewidth=0),
        )
        for row, point in zip(rows, points, strict=True)
    ]  # fmt: skip
    x, y = zip(*_taken(axes, rows, points), strict=True)
    adjust_text(
        texts, x, y, ax=axes, iter_lim=60,
        expand=(1.08, 1.25), force_text=(0.15, 0.3), min_arrow_len=6,
        arrowprops=dict(arrowstyle='-', color='0.6', linewidth=0.6),
    )  # fmt: skip


def _dark(row: Row, styles: dict[str, dict]) -> tuple[float, ...]:
    """The colour of a family, dark enough for small letters on white."""
    colour = _SINGLE['color'] if row.role == SINGLE_TASK else styles[row.family]['color']
    return tuple(0.6 * part for part in matplotlib.colors.to_rgb(colour))


def _taken(
    axes: Axes, rows: Sequence[Row], points: Sequence[tuple[float, float]], parts: int = 8
) -> list[tuple[float, float]]:
    """Where no name may stand: rings around the points, and their bars, as points along them."""
    centres = axes.transData.transform(points)
    turns = [2 * math.pi * part / parts for part in range(parts)]
    ring = [(x + 5 * math.cos(a) * _DOTS, y + 5 * math.sin(a) * _DOTS)
            for x, y in centres for a in turns]  # fmt: skip
    taken = [tuple(point) for point in axes.transData.inverted().transform(ring)]
    for row, (x, y) in zip(rows, points, strict=True):
        std = 0 if math.isnan(row.delta_m.std) else row.delta_m.std
        taken += [(x, y + std * (2 * part / parts - 1)) for part in range(parts + 1) if std]
    return taken
