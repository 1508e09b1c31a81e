"""Charts as SVG that follow the page's colours; the script of the page reads them out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from mtpeft.report.html import Html, join, tag

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 14, 42
COLOURS = 8
Points = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Axis:
    """One axis: from where to where, on which scale, with marks."""

    low: float
    high: float
    log: bool
    ticks: Sequence[float]

    @classmethod
    def of(cls, values: Sequence[float], log: bool = False, whole: bool = False) -> 'Axis':
        """Around finite values; logarithmic only where all are positive."""
        finite = [float(v) for v in values if math.isfinite(v)]
        log = log and bool(finite) and min(finite) > 0
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        if low == high:
            room = abs(low) * 0.1 or 1.0
            low, high = (low / 1.2, high * 1.2) if log else (low - room, high + room)
        if log:
            low, high = low / 1.05, high * 1.05
            steps = LogLocator(10, subs=(1, 2, 5)).tick_values(low, high)
            if sum(low <= t <= high for t in steps) < 3:
                steps = MaxNLocator(4).tick_values(low, high)
        else:
            steps = MaxNLocator(5, integer=whole).tick_values(low, high)
        if not whole and not log:
            room = 0.05 * (high - low)
            low, high = low - room, high + room
        return cls(low, high, log, [float(t) for t in steps if low <= t <= high])

    def share(self, value: float) -> float:
        """Where a value is, between 0 and 1."""
        ends = [self.low, self.high, value]
        low, high, at = map(math.log, ends) if self.log else ends
        return (at - low) / (high - low)


def line_chart(
    title: str, series: Mapping[str, Points], x_label: str, y_label: str = '', log: bool = False,
    step: bool = False, dashed: Sequence[str] = (),
) -> Html:  # fmt: skip
    """Lines over iterations or epochs, with a legend whose entries can be clicked away.

    Args:
        title: Of the chart.
        series: Points of each line by name; values that are not finite leave a gap.
        x_label, y_label: Of the axes.
        log: A logarithmic axis for values that are all positive.
        step: A value holds until the next one.
        dashed: Names of lines that are dashed.
    """
    xs = [x for points in series.values() for x in points[0]]
    ys = [y for points in series.values() for y in points[1]]
    x_axis, y_axis = Axis.of(xs, whole=True), Axis.of(ys, log)
    lines = [
        _line(name, points, x_axis, y_axis, number, step, name in dashed)
        for number, (name, points) in enumerate(series.items())
    ]
    data = {
        name: [[float(x), float(y)] for x, y in zip(*points, strict=True) if math.isfinite(y)]
        for name, points in series.items()
    }
    frame = dict(left=_LEFT, right=_WIDTH - _RIGHT, top=_TOP, bottom=_HEIGHT - _BOTTOM,
                 low=x_axis.low, high=x_axis.high, x=x_label)  # fmt: skip
    svg = tag(
        'svg', axes_marks(x_axis, y_axis, x_label, y_label), lines,
        tag('line', class_='cursor', x1=0, x2=0, y1=_TOP, y2=_HEIGHT - _BOTTOM),
        viewBox=f'0 0 {_WIDTH} {_HEIGHT}', role='img', aria_label=title,
    )  # fmt: skip
    legend = tag('div', [
        tag('button', tag('i', class_=f'swatch c{number % COLOURS}'), name, type='button',
            data_series=name)
        for number, name in enumerate(series)
    ], class_='legend') if len(series) > 1 else None  # fmt: skip
    readout = tag('output', class_='readout')
    return tag('figure', tag('figcaption', title), svg, readout, legend, class_='chart',
               data_points=json.dumps(data), data_frame=json.dumps(frame))  # fmt: skip


def scatter(
    title: str, points: Mapping[str, tuple[float, float, float]], x_label: str, y_label: str,
    links: Mapping[str, str],
) -> Html:  # fmt: skip
    """Named points ``(x, y, deviation of y)``, x on a logarithmic axis, each with a link."""
    x_axis = Axis.of([x for x, _, _ in points.values()], log=True)
    spread = [y + sign * (0 if math.isnan(d) else d) for _, y, d in points.values()
              for sign in (-1, 1)]  # fmt: skip
    y_axis = Axis.of([*spread, 0.0])
    marks, taken = [], []
    zero = _y(y_axis, 0)
    marks.append(tag('line', class_='zero', x1=_LEFT, x2=_WIDTH - _RIGHT, y1=zero, y2=zero))
    for name, (x, y, deviation) in sorted(points.items(), key=lambda item: -item[1][1]):
        at, high = _x(x_axis, x), _y(y_axis, y)
        bar = None
        if not math.isnan(deviation):
            ends = _y(y_axis, y - deviation), _y(y_axis, y + deviation)
            bar = tag('line', class_='bar', x1=at, x2=at, y1=ends[0], y2=ends[1])
        left = at > _LEFT + 0.6 * (_WIDTH - _LEFT)
        place = _free(at, high, len(name), left, taken)
        anchor = 'end' if left else 'start'
        label = tag('text', name, x=at - 8 if left else at + 8, y=place + 4, text_anchor=anchor)
        dot = tag('circle', tag('title', f'{name}: {y:+.2f}, {x:.3f}'), cx=at, cy=high, r=4.5)
        marks.append(tag('a', bar, dot, label, href=links.get(name)))
    svg = tag('svg', axes_marks(x_axis, y_axis, x_label, y_label), marks,
              viewBox=f'0 0 {_WIDTH} {_HEIGHT}', role='img', aria_label=title)  # fmt: skip
    return tag('figure', tag('figcaption', title), svg, class_='chart scatter')


def axes_marks(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> Html:
    """Lines and numbers of both axes."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    marks = []
    for tick, text in zip(y_axis.ticks, _numbers(y_axis.ticks), strict=True):
        y = _y(y_axis, tick)
        marks.append(tag('line', class_='grid', x1=_LEFT, x2=right, y1=y, y2=y))
        marks.append(tag('text', text, x=_LEFT - 7, y=round(y + 4, 1), text_anchor='end'))
    for tick, text in zip(x_axis.ticks, _numbers(x_axis.ticks), strict=True):
        x = _x(x_axis, tick)
        marks.append(tag('line', class_='tick', x1=x, x2=x, y1=bottom, y2=bottom + 4))
        marks.append(tag('text', text, x=x, y=bottom + 18, text_anchor='middle'))
    marks.append(tag('line', class_='axis', x1=_LEFT, x2=right, y1=bottom, y2=bottom))
    marks.append(tag('text', x_label, x=(_LEFT + right) / 2, y=_HEIGHT - 5, text_anchor='middle',
                     class_='label'))  # fmt: skip
    if y_label:
        middle = (_TOP + bottom) / 2
        marks.append(tag('text', y_label, x=13, y=middle, text_anchor='middle', class_='label',
                         transform=f'rotate(-90 13 {middle})'))  # fmt: skip
    return join(marks)


def _line(
    name: str, points: Points, x_axis: Axis, y_axis: Axis, number: int, step: bool, dashed: bool
) -> Html:  # fmt: skip
    words, pen, last = [], 'M', None
    for x, y in zip(*points, strict=True):
        if not math.isfinite(y) or (y_axis.log and y <= 0):
            pen = 'M'
            continue
        at, high = _x(x_axis, x), _y(y_axis, y)
        if step and pen == 'L':
            words.append(f'L{at} {last}')
        words.append(f'{pen}{at} {high}')
        pen, last = 'L', high
    look = f'line c{number % COLOURS}' + ' dashed' * dashed
    path = tag('path', class_=look, d=''.join(words), data_series=name)
    if len([y for y in points[1] if math.isfinite(y)]) > 1:
        return path
    dots = [
        tag('circle', class_=f'dot c{number % COLOURS}', r=4, data_series=name,
            cx=_x(x_axis, x), cy=_y(y_axis, y))
        for x, y in zip(*points, strict=True) if math.isfinite(y)
    ]  # fmt: skip
    return join(path, dots)


def _x(axis: Axis, value: float) -> float:
    return round(_LEFT + axis.share(value) * (_WIDTH - _RIGHT - _LEFT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(_HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _BOTTOM - _TOP), 1)


def _free(at: float, high: float, length: int, left: bool, taken: list) -> float:
    """A height for a label that no other one covers, and note it."""
    width, size = 7.2 * length, 13
    start = at - 8 - width if left else at + 8
    for move in sorted(np.arange(-12, 13) * 6.5, key=abs):
        place = high + move
        box = (start, place - size / 2, start + width, place + size / 2)
        if _TOP < place < _HEIGHT - _BOTTOM - 4 and not any(
            box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken
        ):
            taken.append(box)
            return round(float(place), 1)
    return high


def _numbers(ticks: Sequence[float]) -> list[str]:
    """Numbers of an axis, all with as many decimals as the finest needs."""
    if any(tick and (abs(tick) >= 1e5 or abs(tick) < 1e-3) for tick in ticks):
        return [f'{tick:.3g}'.replace('e+0', 'e').replace('e-0', 'e-') for tick in ticks]
    for digits in range(4):
        if all(math.isclose(round(tick, digits), tick, abs_tol=1e-9) for tick in ticks):
            return [f'{tick:,.{digits}f}' for tick in ticks]
    return [f'{tick:g}' for tick in ticks]
