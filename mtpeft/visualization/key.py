"""What the colours of one map mean: names of classes, a bar with units, a half sphere."""

import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.text import font, write

_BACKGROUND = 'background'


def key(
    task: DenseTask,
    array: np.ndarray,
    height: int,
    value_range: tuple[float, float] | None = None,
    size: int = 13,
) -> np.ndarray:
    """The key of a map, to stand beside it.

    Classes: a swatch and a name for each that is seen, those that fill most where there is no room
    for all. Values and binary maps: a bar with five numbers and the unit. Vectors: the half sphere
    of directions that a camera sees.

    Args:
        task: What the map is of.
        array: The map, ``(H, W)`` or ``(H, W, C)``.
        height: Height of the key, in pixels.
        value_range: Values at the ends of the bar. Default: the map's own extremes.
        size: Height of the type, in pixels; the key is 11 times as wide.

    Returns:
        ``(height, 11 size, 3)`` uint8, RGB.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> key(build_tasks(['depth'])['depth'], np.array([[1.0, 3.0]]), 100).shape
        (100, 143, 3)
    """
    canvas = np.full((height, 11 * size, 3), 255, np.uint8)
    if task.kind == 'classes':
        _names(canvas, task, array, size)
    elif task.kind == 'binary':
        _bar(canvas, task, (0.0, 1.0), 'probability', size)
    elif task.kind == 'vectors' and task.channels == 3:
        _half_sphere(canvas, task, size)
    else:
        _bar(canvas, task, value_range or value_extremes(task, array), _unit(task), size)
    return canvas


def value_extremes(task: DenseTask, array: np.ndarray) -> tuple[float, float]:
    """The least and the largest valid value of the channel that is drawn; (0, 1) without any."""
    valid = task.valid(array, -1 if array.ndim == 3 else None)
    values = (array if array.ndim == 2 else array[..., 0])[valid]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def present_classes(task: DenseTask, array: np.ndarray) -> list[int]:
    """Classes that are seen, the one that fills most first."""
    counts = np.bincount(
        np.asarray(array)[task.valid(array)].astype(np.int64).ravel(), minlength=task.channels
    )[: task.channels]
    order = np.argsort(-counts, kind='stable')
    return [int(number) for number in order if counts[number]]


def _unit(task: DenseTask) -> str:
    if task.channels > 1:
        return f'{task.unit} (channel 1)'.strip()
    return task.unit


def _names(canvas: np.ndarray, task: DenseTask, array: np.ndarray, size: int) -> None:
    line, box = round(1.5 * size), size
    numbers = present_classes(task, array)
    room = max(canvas.shape[0] // line, 1)
    shown = numbers if len(numbers) <= room else numbers[: room - 1]
    for row, number in enumerate(sorted(shown)):
        top = row * line
        swatch = colorize(task, np.full((1, 1), number))[0, 0]
        canvas[top : top + box + 2, 2 : box + 4] = 150  # a rim, for colours that are nearly white
        canvas[top + 1 : top + box + 1, 3 : box + 3] = swatch
        name = str(task.classes[number]) if task.classes else f'class {number}'
        write(canvas, name, 2 * box, top, size, canvas.shape[1] - 2 * box - 2)
    if len(numbers) > len(shown):
        text = f'and {len(numbers) - len(shown)} more'
        write(canvas, text, 2 * box, len(shown) * line, size)


def _bar(
    canvas: np.ndarray, task: DenseTask, ends: tuple[float, float], unit: str, size: int
) -> None:
    low, high = ends
    if unit:
        write(canvas, unit, 2, 0, size, canvas.shape[1] - 4)
    top, bottom = round(1.6 * size), canvas.shape[0] - size
    if bottom - top < 2 * size:
        return
    ramp = np.linspace(high, low, bottom - top)[:, None].repeat(round(1.3 * size), 1)
    array = ramp if task.label_channels == 1 else ramp[..., None].repeat(task.channels, -1)
    right = 3 + ramp.shape[1]
    canvas[top - 1 : bottom + 1, 2 : right + 1] = 150
    canvas[top:bottom, 3:right] = colorize(task, array, (low, max(high, low + 1e-9)))
    if high - low <= 1e-6 * max(abs(high), abs(low)):
        write(canvas, f'{high:.4g}', right + round(0.6 * size), (top + bottom - size) // 2, size)
        return
    number = 5 if bottom - top >= 8 * size else 3 if bottom - top >= 4 * size else 2
    digits = _digits((high - low) / (number - 1))
    for share in np.linspace(0, 1, number):
        at = top + round(share * (bottom - top - 1))
        canvas[at, right : right + size // 3] = 90
        text = f'{high + share * (low - high):.{digits}f}'
        write(canvas, text, right + round(0.6 * size), at - round(0.65 * size), size)


def _digits(step: float) -> int:
    """Decimals by which numbers that are ``step`` apart can be told from one another."""
    return int(np.clip(np.ceil(-np.log10(max(step, 1e-6))) + 1, 0, 6)) if step < 10 else 0


def _half_sphere(canvas: np.ndarray, task: DenseTask, size: int) -> None:
    line = round(1.4 * size)
    radius = min((canvas.shape[0] - 2 * line) // 2, canvas.shape[1] // 2 - 3 * size)
    if radius < size:
        return
    x, y = np.meshgrid(*[np.linspace(-1, 1, 2 * radius)] * 2)
    inside = x * x + y * y <= 1
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    ball = colorize(task, np.stack([x, y, z], -1))
    left, top = canvas.shape[1] // 2 - radius, line
    spot = canvas[top : top + 2 * radius, left : left + 2 * radius]
    spot[inside] = ball[inside]
    middle = canvas.shape[1] // 2
    for text, at, row in (
        ('up', middle, 0), ('down', middle, top + 2 * radius),
        ('left', left - round(1.6 * size), top + radius - size // 2),
        ('right', left + 2 * radius + round(1.8 * size), top + radius - size // 2),
    ):  # fmt: skip
        start = round(at - font(size).getlength(text) / 2)
        write(canvas, text, max(start, 0), row, size)
