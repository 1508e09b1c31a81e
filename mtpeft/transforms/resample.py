"""Moving labels: no invalid pixel enters a valid one, classes never mix, vectors stay unit."""

from collections.abc import Callable

import cv2
import numpy as np

from mtpeft.tasks import DenseTask

_CV_CHANNELS = 4  # OpenCV warps at most four channels at once
#: How a picture is sampled, by name.
PICTURE_MODES = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}
#: How the nearest pixel of a label is found, by name. INTER_NEAREST compares corners and so takes
#: the left and upper pixel of several; the exact one aligns centres, as linear does.
NEAREST_MODES = {'centre': cv2.INTER_NEAREST_EXACT, 'corner': cv2.INTER_NEAREST}


def resize_label(
    label: np.ndarray, task: DenseTask, size: tuple[int, int], nearest: str = 'centre'
) -> np.ndarray:
    """Resize a label ``(H, W)`` or ``(H, W, C)`` to ``size`` = ``(height, width)``.

    Pixel centres are aligned. Values are those of :func:`resample_label`; they do not change with
    the size (a resized depth map is in metres still).

    Args:
        label: The label.
        task: Its task.
        size: ``(height, width)``.
        nearest: Of :data:`NEAREST_MODES`, for labels that take the nearest pixel.
    """

    def resize(array: np.ndarray, is_nearest: bool) -> np.ndarray:
        mode = NEAREST_MODES[nearest] if is_nearest else cv2.INTER_LINEAR
        return cv2.resize(array, size[::-1], interpolation=mode)

    return label if label.shape[:2] == size else resample_label(label, task, resize)


def warp_label(
    label: np.ndarray,
    task: DenseTask,
    matrix: np.ndarray,
    size: tuple[int, int],
    outside: float | None = None,
) -> np.ndarray:
    """Move a label by the affine ``matrix`` ``(2, 3)`` from old to new pixel ``(x, y)``.

    Pixels from outside the old picture are invalid, or class ``outside``. The values follow the
    picture as the task says: vectors turn, depth is divided by the enlargement.
    """

    def warp(array: np.ndarray, nearest: bool) -> np.ndarray:
        mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        classes = task.kind in ('classes', 'binary')
        value = outside if classes and outside is not None else task.ignore_value
        fill = (value,) * _CV_CHANNELS if nearest else 0
        return cv2.warpAffine(
            array, matrix, size[::-1], flags=mode, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
        )

    moved = resample_label(label, task, warp)
    linear = matrix[:, :2]
    scale = float(np.sqrt(np.linalg.det(linear)))
    return scale_values(turn_vectors(moved, task, linear / scale), task, scale)


def resample_label(
    label: np.ndarray, task: DenseTask, move: Callable[[np.ndarray, bool], np.ndarray]
) -> np.ndarray:
    r"""Move a label by ``move(array, nearest)``, mixing valid pixels only.

    A linearly interpolated value is

    .. math:: y = \frac{\sum_i w_i m_i x_i}{\sum_i w_i m_i}

    with weights :math:`w` and validity :math:`m`; it is invalid where :math:`\sum_i w_i m_i < .5`.
    Vectors are brought back to unit length.
    """
    if task.interpolation == 'nearest':
        return _by_channels(label, lambda part: move(part, True))
    axis = -1 if label.ndim == 3 else None
    valid = task.valid(label, axis)
    known = np.where(valid[..., None] if axis else valid, label, 0).astype(np.float32)
    weight = move(valid.astype(np.float32), False)
    total = _by_channels(known, lambda part: move(part, False))
    kept = weight >= 0.5
    if axis:
        weight = weight[..., None]
    values = total / np.maximum(weight, 0.5)
    if task.kind == 'vectors':
        length = np.linalg.norm(values, axis=-1)
        kept = kept & (length > 1e-3)
        values = values / np.maximum(length, 1e-3)[..., None]
    values[~kept] = task.ignore_value
    return values.astype(label.dtype)


def turn_vectors(label: np.ndarray, task: DenseTask, rotation: np.ndarray) -> np.ndarray:
    """Turn vectors by ``rotation`` ``(2, 2)`` in the picture's plane (x right, y down)."""
    if task.rotation != 'turn_vectors':
        return label
    turned = label.copy()
    turned[..., :2] = label[..., :2] @ rotation.T.astype(label.dtype)
    turned[~task.valid(label, -1)] = task.ignore_value
    return turned


def scale_values(label: np.ndarray, task: DenseTask, scale: float) -> np.ndarray:
    """Divide values by the enlargement ``scale`` where the task says so."""
    if task.scaling != 'divide':
        return label
    valid = task.valid(label, -1 if label.ndim == 3 else None)
    return np.where(valid[..., None] if label.ndim == 3 else valid, label / scale, label).astype(
        label.dtype
    )


def pad_label(label: np.ndarray, task: DenseTask, bottom: int, right: int) -> np.ndarray:
    """Add rows and columns that are invalid for the task."""
    width = ((0, bottom), (0, right)) + ((0, 0),) * (label.ndim - 2)
    return np.pad(label, width, constant_values=task.ignore_value)


def map_labels(results: dict, change: Callable[[np.ndarray, DenseTask], np.ndarray]) -> None:
    """Replace every label of ``results`` by ``change(label, task)``, contiguous in memory."""
    tasks = results['tasks']
    results['labels'] = {
        name: np.ascontiguousarray(change(label, tasks[name]))
        for name, label in results['labels'].items()
    }


def set_image(results: dict, img: np.ndarray) -> None:
    """Replace the picture of ``results`` and note its size."""
    # (NumPy calls a picture one pixel wide contiguous whatever its strides, torch does not)
    results['img'] = img.copy() if min(img.strides) < 0 else np.ascontiguousarray(img)
    results['img_shape'] = img.shape[:2]


def _by_channels(array: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if array.ndim == 2 or array.shape[-1] <= _CV_CHANNELS:
        return move(array)
    return np.stack([move(np.ascontiguousarray(c)) for c in np.moveaxis(array, -1, 0)], -1)
