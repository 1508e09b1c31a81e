"""What the colours of a drawing mean."""

from collections.abc import Mapping

import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.grid import TITLE
from mtpeft.visualization.text import write

_LINE, _TYPE, _BAR = 15, 11, 30


def legend(
    tasks: Mapping[str, DenseTask],
    shown: Mapping[str, np.ndarray],
    ranges: Mapping[str, tuple[float, float] | None],
    size: tuple[int, int],
) -> np.ndarray | None:
    """A cell with the names of the classes that are seen, and a bar for each task of values.

    Args:
        tasks: The tasks by name.
        shown: What is drawn of each task, ``(H, W)`` or ``(H, W, C)``: the classes in it are
            named; where there is no room for all, those that fill most.
        ranges: Values at the ends of the colour map, of tasks of values.
        size: Height and width, in pixels, without the line of title.

    Returns:
        ``(height + title, width, 3)`` uint8, RGB. ``None`` where there is nothing to tell, or less
        than 120 pixels to do it in.
    """
    height, width = size
    classes = {n: _present(tasks[n], x) for n, x in shown.items() if tasks[n].kind == 'classes'}
    classes = {name: numbers for name, numbers in classes.items() if numbers}
    bars = {n: r for n, r in ranges.items() if r is not None and n in shown}
    if min(height, width) < 120 or not (classes or bars):
        return None
    canvas = np.full((height + TITLE, width, 3), 255, np.uint8)
    bottom = canvas.shape[0] - _BAR * len(bars)
    for column, (name, numbers) in enumerate(classes.items()):
        left = column * width // len(classes)
        room = width // len(classes) - 4
        _column(canvas[:bottom], tasks[name], numbers, left, room)
    for row, (name, values) in enumerate(bars.items()):
        _bar(canvas[bottom + row * _BAR :][:_BAR], tasks[name], values)
    return canvas


def _present(task: DenseTask, array: np.ndarray) -> list[int]:
    numbers, counts = np.unique(array[task.valid(array)].astype(np.int64), return_counts=True)
    order = np.argsort(-counts, kind='stable')
    known = (int(n) for n in numbers[order] if 0 <= n < task.channels)
    # what is only background needs no name
    return [n for n in known if not (task.classes and task.classes[n] == 'background')]


def _column(canvas: np.ndarray, task: DenseTask, numbers: list[int], left: int, room: int) -> None:
    write(canvas, task.name.replace('_', ' '), left, 1, _TYPE, room, bold=True)
    fits = (canvas.shape[0] - TITLE) // _LINE
    for line, number in enumerate(sorted(numbers[: max(fits, 0)])):
        top = TITLE + line * _LINE
        swatch = colorize(task, np.full((1, 1), number))[0, 0]
        canvas[top + 2 : top + 12, left + 1 : left + 11] = swatch
        name = task.classes[number] if task.classes else f'class {number}'
        write(canvas, name, left + 15, top, _TYPE, room - 15)


def _bar(canvas: np.ndarray, task: DenseTask, values: tuple[float, float]) -> None:
    """A colour map from the low to the high end, with the numbers below it."""
    low, high = values
    width = canvas.shape[1]
    ramp = np.linspace(low, high, width - 2)[None].repeat(10, 0)
    canvas[3:13, 1:-1] = _ramp(task, ramp, values)
    write(canvas, f'{low:.3g} {task.unit}', 1, 14, _TYPE)
    write(canvas, task.name, width // 2 - 18, 14, _TYPE)
    write(canvas, f'{high:.3g} {task.unit}', width - 40, 14, _TYPE, 40)


def _ramp(task: DenseTask, ramp: np.ndarray, values: tuple[float, float]) -> np.ndarray:
    array = ramp if task.label_channels == 1 else ramp[..., None].repeat(task.channels, -1)
    return colorize(task, array, values)
