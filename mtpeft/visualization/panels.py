"""Maps of a picture, each with its key beside it."""

from collections.abc import Mapping

import numpy as np

from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima
from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.grid import GAP, TITLE, cell, grid
from mtpeft.visualization.key import key, value_extremes

Ranges = Mapping[str, tuple[float, float]]
#: a picture of 1 x 10,000 pixels would be drawn 10,000 times as wide as high
_LONGEST = 4
_PLENTY = 2
_WIDE = 2.5
_MARGIN = 2 * GAP
_LINE = 190


def draw_panels(
    tasks: Mapping[str, DenseTask],
    picture: np.ndarray,
    maps: Mapping[str, np.ndarray],
    height: int = 240,
    ranges: Ranges | None = None,
) -> np.ndarray:
    """A picture and its maps in rows, each map with what its colours mean.

    Args:
        tasks: The tasks by name.
        picture: ``(H, W, 3)`` uint8, RGB.
        maps: Predictions by task, ``(H, W)`` or ``(H, W, C)``, such as
            :class:`~mtpeft.apis.MultiTaskInferencer` gives; other entries are not drawn.
        height: Height of one map, in pixels.
        ranges: Values at the ends of the colours of tasks of values. Default: the map's extremes.

    Returns:
        ``(H', W', 3)`` uint8, RGB.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> drawn = draw_panels(build_tasks(['sal']), np.zeros((8, 8, 3), np.uint8),
        ...                     dict(sal=np.ones((8, 8))), height=120)
        >>> drawn.shape
        (150, 506, 3)
    """
    size = panel_size(picture.shape, height)
    shown = {name: maps[name] for name in tasks if name in maps}
    panels = [panel(tasks[name], array, size, (ranges or {}).get(name))
              for name, array in shown.items()]  # fmt: skip
    photo = cell(thinned(picture, size), size, 'input', photo=True)
    if panels:  # as wide as the others, so that the columns are straight
        missing = panels[0].shape[1] - photo.shape[1]
        photo = np.pad(photo, ((0, 0), (0, missing), (0, 0)), constant_values=255)
    cells = [photo, *panels]
    across = _columns(len(cells), cells[0].shape[1] / cells[0].shape[0])
    drawn = grid([cells[start : start + across] for start in range(0, len(cells), across)])
    return with_margin(drawn)


def panel(
    task: DenseTask,
    array: np.ndarray,
    size: tuple[int, int],
    value_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """One map ``(H, W)`` or ``(H, W, C)`` in ``size`` (height, width), with title and key.

    Predicted lines are thinned, as they are before they are judged.
    """
    if task.kind == 'values' and value_range is None:
        value_range = value_extremes(task, array)
    array = thinned(array, size, lines=task.lines)
    type_size = int(np.clip(size[0] // 20, 11, 40))
    shown = cell(map_colours(task, array, value_range), size, task.name.replace('_', ' '))
    _frame(shown[TITLE:], array.shape)
    beside = key(task, array, size[0], value_range, type_size)
    beside = np.pad(beside, ((TITLE, 0), (GAP, 0), (0, 0)), constant_values=255)
    return np.concatenate([shown, beside], 1)


def map_colours(
    task: DenseTask, array: np.ndarray, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """The colours of a predicted map, ``(H, W, 3)`` uint8, RGB; lines are thinned."""
    return colorize(task, suppress_non_maxima(array) if task.lines else array, value_range)


def panel_size(shape: tuple[int, ...], height: int) -> tuple[int, int]:
    """Height and width of the drawing of a picture of ``shape``; narrow ones have room around."""
    return height, max(48, min(_LONGEST * height, round(height * shape[1] / shape[0])))


def thinned(array: np.ndarray, size: tuple[int, int], lines: bool = False) -> np.ndarray:
    """Every k-th pixel of a map that is far larger than its drawing, which bounds the memory.

    Of lines, which would be lost, the largest of each k x k pixels.

    Example:
        >>> thinned(np.zeros((6000, 8000)), (240, 320)).shape
        (500, 667)
    """
    step = min(array.shape[0] // (_PLENTY * size[0]), array.shape[1] // (_PLENTY * size[1]))
    if step <= 1:
        return array
    if not lines:
        return array[::step, ::step]
    high, wide = array.shape[0] // step, array.shape[1] // step
    blocks = array[: high * step, : wide * step].reshape(high, step, wide, step)
    return blocks.max((1, 3))


def _columns(number: int, shape: float) -> int:
    """How many of ``number`` cells stand beside each other: few stay empty, the whole is wide."""
    fits = range(1, number + 1)
    empty = {n: (-number % n) / number for n in fits}
    odd = {n: abs(np.log2(n * shape / -(-number // n) / _WIDE)) for n in fits}
    return min(fits, key=lambda n: odd[n] + 2 * empty[n])


def _frame(canvas: np.ndarray, shape: tuple[int, ...]) -> None:
    """A thin line around a map, which may be white, in the upper left of ``canvas``; in place."""
    scale = min(canvas.shape[0] / shape[0], canvas.shape[1] / shape[1])
    height, width = (max(1, round(side * scale)) for side in shape[:2])
    if min(height, width) < 8:
        return
    canvas[:height, [0, width - 1]] = canvas[[0, height - 1], :width] = _LINE


def with_margin(drawn: np.ndarray) -> np.ndarray:
    """A drawing with white above it and to its left (behind cells is a gap already)."""
    return np.pad(drawn, ((_MARGIN, 0), (_MARGIN, 0), (0, 0)), constant_values=255)
