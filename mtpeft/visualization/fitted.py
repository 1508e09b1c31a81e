"""A map at the size of its drawing: enlarged smoothly, made smaller without losing lines."""

import cv2
import numpy as np

from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima
from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize

_PLENTY = 2
#: how much of the colour of a class covers the photograph, which is brightened below it
_COVER, _BRIGHT = 0.66, 0.45
_ROUND = 0.6  # pixels of the map


def fitted(
    task: DenseTask,
    array: np.ndarray,
    size: tuple[int, int],
    value_range: tuple[float, float] | None = None,
    thin: bool = False,
    photo: np.ndarray | None = None,
) -> np.ndarray:
    """The colours of a map at ``size``.

    Numbers are interpolated before they become colours, over valid pixels only, so a drawing has
    no colour of a value between two classes or next to a hole. Each pixel of a class map is of the
    class that covers most of it. At the map's own size nothing is changed.

    Args:
        task: What the map is of.
        array: ``(H, W)`` or ``(H, W, C)``.
        size: Height and width of the drawing, in pixels.
        value_range: Values at the ends of the colours, of tasks of values. Default: the map's
            extremes.
        thin: Thin lines as they are before they are judged, for predictions.
        photo: The photograph ``(h, w, 3)`` uint8, to lay a class map over; classes called
            background let it through. ``None``: plain colours.

    Returns:
        ``(*size, 3)`` uint8, RGB.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> depth = build_tasks(['depth'])['depth']
        >>> fitted(depth, np.array([[1.0, 3.0]]), (2, 8)).shape
        (2, 8, 3)
    """
    array = _plain(task, np.asarray(array))
    if task.kind == 'values' and value_range is None:
        value_range = value_extremes(task, array)
    if task.lines and thin:
        array = suppress_non_maxima(array)
    array = thinned(array, size, task.lines)
    shown = array if array.shape[:2] == tuple(size) else _resampled(task, array, size)
    rgb = colorize(task, shown, value_range)
    if photo is None or task.kind != 'classes':
        return rgb
    return _over(task, shown, rgb, photograph_at(photo, size))


def photograph_at(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photograph ``(H, W, 3)`` uint8 at ``size`` (height, width), smoothly."""
    if photo.shape[:2] == tuple(size):
        return photo
    smaller = size[0] < photo.shape[0] or size[1] < photo.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(photo, tuple(size[::-1]), interpolation=method)


def value_extremes(task: DenseTask, array: np.ndarray) -> tuple[float, float]:
    """The least and the largest valid value of the channel that is drawn; (0, 1) without any."""
    valid = task.valid(array, -1 if array.ndim == 3 else None)
    values = (array if array.ndim == 2 else array[..., 0])[valid]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


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


def _plain(task: DenseTask, array: np.ndarray) -> np.ndarray:
    """Without an axis of length 1, as :func:`colorize` takes it too."""
    if array.ndim == 3 and task.label_channels == 1 and 1 in (array.shape[0], array.shape[-1]):
        return array[0] if array.shape[0] == 1 else array[..., 0]
    return array


def _resampled(task: DenseTask, array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if task.kind == 'classes':
        return _classes(task, array, size)
    valid = task.valid(array, -1 if array.ndim == 3 else None)
    weight = valid.astype(np.float32)
    factor = weight if array.ndim == 2 else weight[..., None]
    values = np.where(factor > 0, array, 0).astype(np.float32)
    share = _resized(weight, size)
    made = _resized(values, size) / np.maximum(share if array.ndim == 2 else share[..., None], 1e-6)
    if valid.any():  # a cubic overshoots
        made = np.clip(made, values[valid].min(), values[valid].max())
    made[share < 0.5] = task.ignore_value
    return made


def _classes(task: DenseTask, array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    numbers = np.unique(array)
    best = np.full(size, -np.inf, np.float32)
    made = np.zeros(size, array.dtype)
    larger = size[0] > array.shape[0] and size[1] > array.shape[1]
    for number in numbers:
        share = (array == number).astype(np.float32)
        # steps of single pixels become slopes, and a line of one pixel still wins its middle
        share = _resized(cv2.GaussianBlur(share, (0, 0), _ROUND) if larger else share, size)
        more = share > best
        best[more], made[more] = share[more], number
    return made


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    smaller = size[0] < array.shape[0] or size[1] < array.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    # (OpenCV takes four channels and no more)
    if array.ndim == 3 and array.shape[-1] > 4:
        parts = [_resized(array[..., i], size) for i in range(array.shape[-1])]
        return np.stack(parts, -1)
    made = cv2.resize(array, tuple(size[::-1]), interpolation=method)
    return made if made.ndim == array.ndim else made[..., None]


def _over(
    task: DenseTask, numbers: np.ndarray, rgb: np.ndarray, photo: np.ndarray
) -> np.ndarray:  # fmt: skip
    grey = photo.astype(np.float32).mean(-1, keepdims=True)
    below = 255 * _BRIGHT + (1 - _BRIGHT) * grey
    mixed = _COVER * rgb + (1 - _COVER) * below
    background = [n for n, name in enumerate(task.classes or ()) if name == 'background']
    plain = np.isin(numbers, background)
    mixed[plain] = np.broadcast_to(below, mixed.shape)[plain]
    return np.rint(mixed).clip(0, 255).astype(np.uint8)
