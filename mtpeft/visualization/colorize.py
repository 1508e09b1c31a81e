"""Labels and predictions as colours."""

import cv2
import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.tasks.palettes import class_palette

_IGNORED = (128, 128, 128)
_AXES = (1, -1, -1)


def colorize(
    task: DenseTask, array: np.ndarray, value_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Draw a label or a prediction.

    Classes take the task's palette; binary labels and probabilities go from black (0) to white
    (1), those of a task of lines the other way round; vectors (x right, y down, z into the picture)
    as normals are usually shown, red to the right, green up, blue to the viewer; values run through
    a colour map (near = yellow, far = violet for depth), further channels than the first are not
    drawn. Invalid pixels are grey for classes and binary labels, black else.

    Args:
        task: What the array is of.
        array: ``(H, W)`` or ``(H, W, C)``; a trailing or leading axis of length 1 is dropped.
        value_range: Values of the two ends of the colour map, to draw a label and its prediction
            alike. Default: the array's own extremes.

    Returns:
        ``(H, W, 3)`` uint8, RGB.

    Raises:
        ValueError: the array has another number of axes or channels.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> task = build_tasks(['normals'])['normals']
        >>> colorize(task, np.full((1, 1, 3), (0, 0, -1.))).tolist()
        [[[128, 128, 255]]]
    """
    array = np.asarray(array)
    if array.ndim == 3 and task.label_channels == 1:
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    axes = 2 if task.label_channels == 1 else 3
    if array.ndim != axes or (axes == 3 and array.shape[-1] != task.channels):
        raise ValueError(
            f'Expected an array {"(H, W)" if axes == 2 else f"(H, W, {task.channels})"} for task '
            f"'{task.name}', got {array.shape}."
        )
    valid = task.valid(array, -1 if axes == 3 else None)
    if task.kind == 'classes':
        return _classes(task, array, valid)
    if task.kind == 'binary':
        level = np.clip(np.where(valid, array, 0), 0, 1)
        grey = (1 - level if task.lines else level) * 255
        rgb = np.repeat(np.rint(grey)[..., None], 3, -1).astype(np.uint8)
        rgb[~valid] = _IGNORED
        return rgb
    if task.kind == 'vectors' and task.channels == 3:
        shown = np.clip(np.where(valid[..., None], array, 0), -1, 1) * _AXES
        rgb = np.rint((shown + 1) * 127.5)
        rgb = rgb.astype(np.uint8)
    else:
        rgb = _colour_map(array if axes == 2 else array[..., 0], valid, value_range)
    rgb[~valid] = 0
    return rgb


def _classes(task: DenseTask, array: np.ndarray, valid: np.ndarray) -> np.ndarray:
    palette = np.asarray(task.palette or class_palette(task.channels), np.uint8)
    known = valid & (array >= 0) & (array < len(palette))
    rgb = palette[np.where(known, array, 0).astype(np.int64)]
    rgb[~known] = _IGNORED
    return rgb


def _colour_map(
    values: np.ndarray, valid: np.ndarray, value_range: tuple[float, float] | None
) -> np.ndarray:
    if value_range is None:
        kept = values[valid]
        value_range = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 1.0)
    low, high = value_range
    level = np.where(valid, values, low).astype(np.float64) - low
    level = np.clip(level / max(high - low, 1e-9), 0, 1)
    colours = cv2.applyColorMap(np.rint(255 - level * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(colours[..., ::-1])
