"""Maps of a picture, each with its key beside it."""

from collections.abc import Mapping

import numpy as np

from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima
from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.fitted import fitted, photograph_at, value_extremes
from mtpeft.visualization.key import draw_key
from mtpeft.visualization.marks import Box
from mtpeft.visualization.sheet import Sheet

Ranges = Mapping[str, tuple[float, float]]
#: a picture of 1 x 10,000 pixels would be drawn 10,000 times as wide as high
_LONGEST = 4
_WIDE = 2.5
_GAP, _MARGIN = 10, 8
_RIM = (190, 190, 190)


def draw_panels(
    tasks: Mapping[str, DenseTask],
    picture: np.ndarray,
    maps: Mapping[str, np.ndarray],
    height: int = 240,
    ranges: Ranges | None = None,
    density: float = 1.0,
) -> Sheet:
    """A picture and its maps in rows, each map with what its colours mean.

    Args:
        tasks: The tasks by name.
        picture: ``(H, W, 3)`` uint8, RGB.
        maps: Predictions by task, ``(H, W)`` or ``(H, W, C)``, such as
            :class:`~mtpeft.apis.MultiTaskInferencer` gives; other entries are not drawn.
        height: Height of one map.
        ranges: Values at the ends of the colours of tasks of values. Default: the map's extremes.
        density: Pixels of the drawing a unit of ``height``.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> drawn = draw_panels(build_tasks(['sal']), np.zeros((8, 8, 3), np.uint8),
        ...                     dict(sal=np.ones((8, 8))), height=120)
        >>> drawn.array().shape
        (155, 521, 3)
    """
    size = panel_size(picture.shape, height)
    type_size = _type_size(height)
    photo = _cell(size, type_size, 'input', density, with_key=bool(maps))
    box = inner_box(picture.shape, (0, _title_of(type_size), size[1], size[0]))
    photo.picture(box, photograph_at(picture, pixels_of(box, density)))
    cells = [photo] + [
        panel(tasks[name], maps[name], size, (ranges or {}).get(name), picture, density)
        for name in tasks if name in maps
    ]  # fmt: skip
    across = _columns(len(cells), cells[0].width / cells[0].height)
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    wide, high = cells[0].width + _GAP, cells[0].height + _GAP
    whole = Sheet(2 * _MARGIN + across * wide - _GAP, 2 * _MARGIN + len(rows) * high - _GAP,
                  density)  # fmt: skip
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            whole.paste(cell, _MARGIN + column * wide, _MARGIN + number * high)
    return whole


def panel(
    task: DenseTask,
    array: np.ndarray,
    size: tuple[int, int],
    value_range: tuple[float, float] | None = None,
    photo: np.ndarray | None = None,
    density: float = 1.0,
) -> Sheet:
    """One map ``(H, W)`` or ``(H, W, C)`` in ``size`` (height, width), with title and key.

    Predicted lines are thinned, as they are before they are judged; class maps are laid over
    ``photo``, where it is given.
    """
    if task.kind == 'values' and value_range is None:
        value_range = value_extremes(task, array)
    type_size = _type_size(size[0])
    sheet = _cell(size, type_size, task.name.replace('_', ' '), density, with_key=True)
    top = _title_of(type_size)
    box = inner_box(array.shape, (0, top, size[1], size[0]))
    sheet.picture(box, fitted(task, array, pixels_of(box, density), value_range, True, photo))
    sheet.frame(box, _RIM)
    beside = (size[1] + 0.6 * type_size, top, _key_of(type_size), size[0])
    draw_key(sheet, beside, task, array, value_range, type_size)
    return sheet


def map_colours(
    task: DenseTask, array: np.ndarray, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """The colours of a predicted map, ``(H, W, 3)`` uint8, RGB; lines are thinned."""
    return colorize(task, suppress_non_maxima(array) if task.lines else array, value_range)


def panel_size(shape: tuple[int, ...], height: int) -> tuple[int, int]:
    """Height and width of the drawing of a picture of ``shape``, none very narrow or wide."""
    return height, max(48, min(_LONGEST * height, round(height * shape[1] / shape[0])))


def inner_box(shape: tuple[int, ...], cell: Box) -> Box:
    """The place of a picture of ``shape`` in the upper left of a cell, in its proportions."""
    left, top, width, height = cell
    scale = min(height / shape[0], width / shape[1])
    if abs(scale * shape[0] - height) < 1 and abs(scale * shape[1] - width) < 1:
        return cell
    return left, top, max(1, scale * shape[1]), max(1, scale * shape[0])


def pixels_of(box: Box, density: float) -> tuple[int, int]:
    """Height and width of a box in a drawing, in pixels."""
    left, top, width, height = (edge * density for edge in box)
    return (
        max(1, round(top + height) - round(top)), max(1, round(left + width) - round(left))
    )  # fmt: skip


def with_margin(sheet: Sheet) -> Sheet:
    """A drawing with white around it."""
    whole = Sheet(sheet.width + 2 * _MARGIN, sheet.height + 2 * _MARGIN, sheet.density)
    whole.paste(sheet, _MARGIN, _MARGIN)
    return whole


def _type_size(height: float) -> float:
    return float(np.clip(height / 20, 11, 40))


def _title_of(type_size: float) -> float:
    return 1.7 * type_size


def _key_of(type_size: float) -> float:
    return 11 * type_size


def _cell(
    size: tuple[int, int], type_size: float, title: str, density: float, with_key: bool
) -> Sheet:  # fmt: skip
    key = 0.6 * type_size + _key_of(type_size) if with_key else 0
    sheet = Sheet(size[1] + key, size[0] + _title_of(type_size), density)
    sheet.text(0, 1.1 * type_size, title, 1.08 * type_size, bold=True, room=sheet.width)
    return sheet


def _columns(number: int, shape: float) -> int:
    """How many of ``number`` cells stand beside each other: few stay empty, the whole is wide."""
    fits = range(1, number + 1)
    empty = {n: (-number % n) / number for n in fits}
    odd = {n: abs(np.log2(n * shape / -(-number // n) / _WIDE)) for n in fits}
    return min(fits, key=lambda n: odd[n] + 2 * empty[n])
