"""What the colours of maps mean: names of classes, bars with units, a half sphere."""

from collections.abc import Mapping

import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.fitted import value_extremes
from mtpeft.visualization.marks import Box
from mtpeft.visualization.sheet import GREY, Sheet, text_width

Range = tuple[float, float]
_RIM = (150, 150, 150)
_BACKGROUND = 'background'
_SEEN = 0.002  # of a map: less of it is not seen


def draw_key(
    sheet: Sheet,
    box: Box,
    task: DenseTask,
    array: np.ndarray,
    value_range: Range | None = None,
    size: float = 13,
) -> None:
    """The key of one map, to stand beside it.

    Classes: a swatch and a name for each that is seen, those that fill most where there is no room
    for all. Values and binary maps: an upright bar with numbers and the unit. Vectors: the half
    sphere of directions that a camera sees.

    Args:
        sheet: What is drawn on.
        box: Where (left, top, width, height).
        task: What the map is of.
        array: The map, ``(H, W)`` or ``(H, W, C)``.
        value_range: Values at the ends of the bar. Default: the map's own extremes.
        size: Height of the type.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> sheet = Sheet(143, 100)
        >>> depth = build_tasks(['depth'])['depth']
        >>> draw_key(sheet, (0, 0, 143, 100), depth, np.array([[1.0, 3.0]]))
        >>> sheet.marks[0].text
        'm'
    """
    if task.kind == 'classes':
        draw_names(sheet, box, task, present_classes(task, array), size)
    elif task.kind == 'binary':
        _upright_bar(sheet, box, task, (0.0, 1.0), 'probability', size)
    elif task.kind == 'vectors' and task.channels == 3:
        draw_half_sphere(sheet, box, task, size)
    else:
        value_range = value_range or value_extremes(task, array)
        _upright_bar(sheet, box, task, value_range, _unit(task), size)


def draw_legend(
    sheet: Sheet,
    box: Box,
    tasks: Mapping[str, DenseTask],
    shown: Mapping[str, list[np.ndarray]],
    ranges: Mapping[str, Range | None],
    size: float = 11,
) -> None:
    """The keys of several tasks in one box: names in columns, below them bars and a half sphere.

    What there is no room for is left out: first the half sphere, then bars of probabilities.

    Args:
        sheet: What is drawn on.
        box: Where (left, top, width, height).
        tasks: The tasks by name.
        shown: All maps that are drawn of each task; only classes in them are named.
        ranges: Values at the ends of the colours, of tasks of values.
        size: Height of the type.
    """
    left, top, width, height = box
    if width < 7 * size or height < 4 * size:
        return
    named = {
        name: found for name, maps in shown.items()
        if tasks[name].kind == 'classes' and (found := _foreground(tasks[name], maps))
    }  # fmt: skip
    bars = {name: ranges[name] for name in shown if ranges.get(name) is not None}
    line, strip = 1.36 * size, 2.7 * size
    room = height - strip * len(bars)
    wanted = line * (2.2 + max(map(len, named.values()))) if named else 0
    for name in shown:
        lit = tasks[name].kind == 'binary' and not tasks[name].lines
        if lit and room - strip >= wanted:
            bars[name], room = (0.0, 1.0), room - strip
    for column, (name, numbers) in enumerate(named.items()):
        part = width / len(named)
        at, wide = left + column * part, part - 0.8 * size
        sheet.text(at, top + size, name.replace('_', ' '), size, bold=True, room=wide)
        below = (at, top + 1.2 * line, wide, min(wanted, room) - 1.2 * line)
        unlabelled = any((~tasks[name].valid(array)).mean() > _SEEN for array in shown[name])
        draw_names(sheet, below, tasks[name], numbers, size, unlabelled)
    vectors = [n for n in shown if tasks[n].kind == 'vectors' and tasks[n].channels == 3]
    free = room - wanted - 0.5 * line
    if vectors and free > 6.5 * size:
        high = min(free, 9 * size)
        draw_half_sphere(
            sheet, (left, top + room - high - 0.2 * line, width, high), tasks[vectors[0]], size
        )
    for row, (name, ends) in enumerate(bars.items()):
        place = (left, top + room + row * strip + 0.3 * size, width, strip)
        _level_bar(sheet, place, tasks[name], ends, size)


def present_classes(task: DenseTask, array: np.ndarray) -> list[int]:
    """Classes that are seen, the one that fills most first."""
    counts = np.bincount(
        np.asarray(array)[task.valid(array)].astype(np.int64).ravel(), minlength=task.channels
    )[: task.channels]
    order = np.argsort(-counts, kind='stable')
    return [int(number) for number in order if counts[number]]


def class_name(task: DenseTask, number: int) -> str:
    """Its name, or ``'class 3'``."""
    return str(task.classes[number]) if task.classes else f'class {number}'


def draw_names(
    sheet: Sheet, box: Box, task: DenseTask, numbers: list[int], size: float,
    unlabelled: bool = False,
) -> None:  # fmt: skip
    """Swatches and names of classes, given the most important first, below each other.

    With ``unlabelled``, the grey of pixels without a label is named last, where there is room.
    """
    left, top, width, height = box
    line = 1.36 * size
    room = max(int(height / line + 0.01), 1)
    shown = numbers if len(numbers) <= room else numbers[: room - 1]
    for row, number in enumerate(sorted(shown)):
        base = top + row * line + size
        colour = tuple(map(int, colorize(task, np.full((1, 1), number))[0, 0]))
        swatch = (left, base - 0.86 * size, size, size)
        sheet.fill(swatch, colour)
        if min(colour) > 200:  # nearly white
            sheet.frame(swatch, _RIM)
        sheet.text(left + 1.45 * size, base, class_name(task, number), size,
                   room=width - 1.5 * size)  # fmt: skip
    if len(numbers) > len(shown):
        text, unlabelled = f'and {len(numbers) - len(shown)} more', False
        sheet.text(left + 1.45 * size, top + len(shown) * line + size, text, size, colour=GREY,
                   room=width - 1.5 * size)  # fmt: skip
    if unlabelled and len(shown) < room:
        base = top + len(shown) * line + size
        grey = tuple(map(int, colorize(task, np.full((1, 1), task.ignore_value))[0, 0]))
        sheet.fill((left, base - 0.86 * size, size, size), grey)
        sheet.text(left + 1.45 * size, base, 'no label', size, room=width - 1.5 * size)


def draw_half_sphere(sheet: Sheet, box: Box, task: DenseTask, size: float) -> None:
    """Directions that a camera sees, in the colours of a map of them."""
    left, top, width, height = box
    side = text_width('right', size) + 0.4 * size
    radius = min(height / 2 - 1.3 * size, width / 2 - side)
    if radius < size:
        return
    number = max(2, round(2 * radius * sheet.density))
    x, y = np.meshgrid(*[(np.arange(number) + 0.5) * 2 / number - 1] * 2)
    inside = np.clip((1 - np.hypot(x, y)) * number / 2 + 0.5, 0, 1)[..., None]  # a smooth rim
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    ball = colorize(task, np.stack([x, y, z], -1)) * inside + 255 * (1 - inside)
    middle, centre = left + width / 2, top + height / 2
    sheet.picture(
        (middle - radius, centre - radius, 2 * radius, 2 * radius), np.rint(ball).astype(np.uint8)
    )
    base = centre + 0.35 * size
    sheet.text(middle, centre - radius - 0.3 * size, 'up', size, align='center')
    sheet.text(middle, centre + radius + 1.05 * size, 'down', size, align='center')
    sheet.text(middle - radius - 0.3 * size, base, 'left', size, align='right')
    sheet.text(middle + radius + 0.3 * size, base, 'right', size)


def _foreground(task: DenseTask, maps: list[np.ndarray]) -> list[int]:
    """Classes in any of the maps, but background, the one that fills most first."""
    flat = np.concatenate([np.asarray(array)[task.valid(array)].ravel() for array in maps])
    found = present_classes(task, flat[None])
    return [n for n in found if class_name(task, n) != _BACKGROUND]


def _unit(task: DenseTask) -> str:
    return f'{task.unit} (channel 1)'.strip() if task.channels > 1 else task.unit


def _ramp(task: DenseTask, ends: Range, number: int) -> np.ndarray:
    """Colours from the low to the high end, ``(1, number, 3)``."""
    low, high = ends
    ramp = np.linspace(low, max(high, low + 1e-9), number)[None]
    if task.kind == 'binary':  # as probabilities, not as the lines they are drawn as
        return colorize(task, ramp)
    array = ramp if task.label_channels == 1 else ramp[..., None].repeat(task.channels, -1)
    shown = np.where(array == task.ignore_value, array + 1e-9, array)
    return colorize(task, shown, (low, max(high, low + 1e-9)))


def _upright_bar(
    sheet: Sheet, box: Box, task: DenseTask, ends: Range, unit: str, size: float
) -> None:  # fmt: skip
    (left, top, width, height), (low, high) = box, ends
    sheet.text(left, top + size, unit, size, room=width)
    first, length = top + 2 * size, height - 2.5 * size
    if length < 2 * size:
        return
    bar = (left, first, 1.3 * size, length)
    number = max(2, round(length * sheet.density))
    sheet.picture(bar, _ramp(task, ends, number)[0, ::-1, None].repeat(2, 1))
    sheet.frame(bar, _RIM)
    if high - low <= 1e-6 * max(abs(high), abs(low)):
        sheet.text(left + 1.9 * size, first + length / 2 + 0.35 * size, f'{high:.4g}', size)
        return
    number = 5 if length >= 8 * size else 3 if length >= 4 * size else 2
    digits = digits_of((high - low) / (number - 1))
    for share in np.linspace(0, 1, number):
        at = first + share * (length - 1)
        sheet.fill((left + 1.3 * size, at, 0.3 * size, 1), (90, 90, 90))
        text = f'{high + share * (low - high):.{digits}f}'
        sheet.text(left + 1.9 * size, at + 0.35 * size, text, size)


def _level_bar(sheet: Sheet, box: Box, task: DenseTask, ends: Range, size: float) -> None:
    """A bar from left to right, with name and numbers below it."""
    left, top, width, _ = box
    bar = (left, top, width, 0.8 * size)
    sheet.picture(bar, _ramp(task, ends, max(2, round(width * sheet.density))))
    sheet.frame(bar, _RIM)
    digits = digits_of((ends[1] - ends[0]) / 2)
    low, high = (f'{value:.{digits}f}' for value in ends)
    name = task.name.replace('_', ' ')
    unit = _unit(task) if task.kind != 'binary' else 'probability'
    base = top + 1.95 * size
    sheet.text(left, base, low, size)
    sheet.text(left + width, base, high, size, align='right')
    room = width - text_width(low, size) - text_width(high, size) - size
    title = f'{name} ({unit})' if unit else name
    sheet.text(left + width / 2, base, title, size, align='center', room=max(room, 1))


def digits_of(step: float) -> int:
    """Decimals by which numbers that are ``step`` apart can be told from one another.

    Example:
        >>> digits_of(0.02), digits_of(1.5), digits_of(40)
        (3, 1, 0)
    """
    return int(np.clip(np.ceil(-np.log10(max(step, 1e-6))) + 1, 0, 6)) if step < 10 else 0
