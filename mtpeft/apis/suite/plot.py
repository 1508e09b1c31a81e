"""Delta_m against trainable parameters."""

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from mtpeft.apis.suite.summary import SINGLE_TASK, Row

# where a label may stand around its point, the best place first: offset in points
_PLACES = [
    (math.cos(angle) * radius, math.sin(angle) * radius)
    for radius in (9, 16, 22, 28, 38, 52, 70)
    for angle in (math.radians(a) for a in (30, 150, 330, 210, 90, 270, 0, 180, 60, 120, 240, 300))
]


def plot_delta(rows: Sequence[Row], title: str) -> bytes:
    """The picture of :func:`draw_delta` as PNG."""
    buffer = io.BytesIO()
    draw_delta(rows, title).savefig(buffer, format='png')
    return buffer.getvalue()


def draw_delta(rows: Sequence[Row], title: str) -> Figure:
    """Draw the rows that have a Delta_m.

    Parameters are on a logarithmic axis. The dashed line is the single-task networks; bars are
    the standard deviation over seeds.
    """
    rows = [row for row in rows if row.delta_m is not None and row.parameters]
    # room for the labels: the page grows with their number
    grown = math.sqrt(max(1, len(rows) / 15))
    figure = Figure(figsize=(7.2 * grown, 4.6 * grown), dpi=150 / grown**0.5, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    points = [(row.parameters['trainable'] / 1e6, row.delta_m.mean) for row in rows]
    for row, (x, y) in zip(rows, points, strict=True):
        std = row.delta_m.std
        single = row.role == SINGLE_TASK
        axes.errorbar(
            x, y, yerr=None if math.isnan(std) else std, fmt='D' if single else 'o', markersize=6,
            capsize=3, color='0.35' if single else 'tab:blue', zorder=3,
        )  # fmt: skip
    axes.axhline(0, color='0.6', linestyle='--', linewidth=1, zorder=1)
    axes.set_xscale('log')
    axes.margins(0.18)
    axes.set(xlabel='trainable parameters (millions)', ylabel='Δm over single-task (%)',
             title=title)  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter('')
    axes.grid(True, which='major', color='0.92', zorder=0)
    _label(axes, [row.label for row in rows], points)
    return figure


def _label(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Write each name at the place around its point where it covers least."""
    figure = axes.figure
    # the layout decides where points are on the page
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    taken = [_around(axes.transData.transform(point), 7) for point in points]
    page = axes.get_window_extent()
    for name, point in zip(names, points, strict=True):
        text = axes.annotate(
            name, point, xytext=_PLACES[0], textcoords='offset points', fontsize=9, zorder=4,
            arrowprops=dict(arrowstyle='-', color='0.6', linewidth=0.6, shrinkA=0, shrinkB=3),
        )  # fmt: skip
        costs = []
        for number, place in enumerate(_PLACES):
            box = _put(text, place)
            outside = box.width * box.height - _overlap(box, page)
            costs.append((sum(_overlap(box, other) for other in taken) + outside, number))
        # a little overlap is as bad as much of it, but rounding is none
        best = min((round(cost), number) for cost, number in costs)[1]
        taken.append(_put(text, _PLACES[best]))


def _put(text: Annotation, place: tuple[float, float]) -> Bbox:
    """Move a label; where it then is, without its line."""
    text.xyann = place
    text.set_ha('left' if place[0] > 1 else 'right' if place[0] < -1 else 'center')
    text.set_va('bottom' if place[1] > 1 else 'top' if place[1] < -1 else 'center')
    text.update_positions(text.axes.figure.canvas.get_renderer())
    return Text.get_window_extent(text)


def _around(centre: Sequence[float], radius: float) -> Bbox:
    x, y = centre
    return Bbox([[x - radius, y - radius], [x + radius, y + radius]])


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)
