"""Moving labels: no invalid pixel enters a valid one, classes never mix, vectors stay unit."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from mtpeft.tasks import DenseTask
from mtpeft.transforms.planes import (
    all_finite,
    empty_planes,
    fill_but,
    joined,
    lengths,
    map_planes,
    planes_in,
    planes_of,
)

Move = Callable[[np.ndarray, bool], np.ndarray]

#: How a picture is sampled, by name.
PICTURE_MODES = {'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC, 'area': cv2.INTER_AREA}
#: How the nearest pixel of a label is found, by name. INTER_NEAREST compares corners and so takes
#: the left and upper pixel of several; the exact one aligns centres, as linear does.
NEAREST_MODES = {'centre': cv2.INTER_NEAREST_EXACT, 'corner': cv2.INTER_NEAREST}
_ENOUGH = np.float32(0.5)  # of the weight has to be that of valid pixels
_SHORTEST = np.float32(1e-3)  # vectors that cancel out have no direction


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

    if label.shape[:2] == size:
        return label
    return resample_label(label, task, resize, inside=True)


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
        return cv2.warpAffine(
            array, matrix, size[::-1], flags=mode, borderMode=cv2.BORDER_CONSTANT,
            borderValue=value if nearest else 0,
        )  # fmt: skip

    moved = resample_label(label, task, warp)
    linear = matrix[:, :2]
    scale = float(np.sqrt(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0]))
    return scale_values(turn_vectors(moved, task, linear / scale), task, scale)


def resample_label(
    label: np.ndarray, task: DenseTask, move: Move, inside: bool = False
) -> np.ndarray:
    r"""Move a label by ``move(plane, nearest)``, mixing valid pixels only.

    A linearly interpolated value is

    .. math:: y = \frac{\sum_i w_i m_i x_i}{\sum_i w_i m_i}

    with weights :math:`w` and validity :math:`m`; it is invalid where :math:`\sum_i w_i m_i < .5`.
    Vectors are brought back to unit length.

    Args:
        label: ``(H, W)`` or ``(H, W, C)``.
        task: Its task.
        move: Gives the moved plane.
        inside: Whether weights sum to 1 everywhere: nothing comes from outside the old picture.
            A label without invalid pixels then needs no weights.
    """
    if task.interpolation == 'nearest':
        return map_planes(label, lambda plane: move(plane, True))
    planes = planes_of(label)
    valid = _valid(planes, task)
    weight = None
    if valid is not None or not inside:
        mask = np.ones(label.shape[:2], np.float32) if valid is None else valid.astype(np.float32)
        weight = move(mask, False)
    totals = [move(plane, False) for plane in _known(planes, valid)]
    mean = _directions if task.kind == 'vectors' else _means
    values, kept = mean(totals, weight, label.ndim)
    if task.ignore_value != 0:
        fill_but(values, kept, task.ignore_value)
    return values.astype(label.dtype, copy=False)


def turn_vectors(label: np.ndarray, task: DenseTask, rotation: np.ndarray) -> np.ndarray:
    """Turn vectors in place by ``rotation`` ``(2, 2)`` in the picture (x right, y down)."""
    if task.rotation != 'turn_vectors':
        return label
    valid = None
    if task.ignore_value != 0 or not all_finite(label):  # (0, 0) turned is (0, 0)
        valid = _valid(planes_of(label), task)
    x, y = label[..., 0], label[..., 1]
    (a, b), (c, d) = rotation.astype(label.dtype)
    turned = a * x
    turned += b * y
    y *= d
    y += c * x
    x[...] = turned
    fill_but(label, valid, task.ignore_value)
    return label


def scale_values(label: np.ndarray, task: DenseTask, scale: float) -> np.ndarray:
    """Divide values by the enlargement ``scale`` where the task says so."""
    if task.scaling != 'divide':
        return label
    valid = None if task.ignore_value == 0 else _valid(planes_of(label), task)
    divided = label / scale
    if valid is not None:
        divided[~valid] = label[~valid]
    return divided.astype(label.dtype, copy=False)


def pad_label(label: np.ndarray, task: DenseTask, bottom: int, right: int) -> np.ndarray:
    """Add rows and columns that are invalid for the task."""
    height, width = label.shape[:2]
    padded = empty_planes((height + bottom, width + right, *label.shape[2:]), label.dtype)
    padded[height:] = padded[:height, width:] = task.ignore_value
    padded[:height, :width] = label
    return padded


def map_labels(results: dict, change: Callable[[np.ndarray, DenseTask], np.ndarray]) -> None:
    """Replace every label of ``results`` by ``change(label, task)``."""
    tasks = results['tasks']
    results['labels'] = {
        name: change(label, tasks[name]) for name, label in results['labels'].items()
    }


def set_image(results: dict, img: np.ndarray) -> None:
    """Replace the picture of ``results`` and note its size."""
    # (NumPy calls a picture one pixel wide contiguous whatever its strides, torch does not)
    results['img'] = img.copy() if min(img.strides) < 0 else np.ascontiguousarray(img)
    results['img_shape'] = img.shape[:2]


def _valid(planes: Sequence[np.ndarray], task: DenseTask) -> np.ndarray | None:
    """The mask of :meth:`DenseTask.valid`; ``None`` where every pixel is valid."""
    bad = planes[0] == task.ignore_value
    for plane in planes[1:]:
        bad &= plane == task.ignore_value
    for plane in planes:
        if not all_finite(plane):
            bad |= ~np.isfinite(plane)
    return ~bad if bad.any() else None


def _known(planes: Sequence[np.ndarray], valid: np.ndarray | None) -> list[np.ndarray]:
    """The planes as float32, 0 where the label is invalid."""
    floats = [plane.astype(np.float32, copy=False) for plane in planes]
    mask = None if valid is None else valid.view(np.uint8)
    return floats if mask is None else [cv2.copyTo(plane, mask) for plane in floats]


def _means(
    totals: Sequence[np.ndarray], weight: np.ndarray | None, axes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weighted sums over their weights, 0 where there is not enough; and where there is.

    ``None`` stands for all over.
    """
    kept = None
    if weight is not None:
        kept = weight >= _ENOUGH
        np.copyto(weight, np.inf, where=~kept)
        for total in totals:
            total /= weight
    return totals[0] if axes == 2 else joined(totals), kept


def _directions(
    totals: Sequence[np.ndarray], weight: np.ndarray | None, axes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The same for vectors of length 1, whose weights cancel out."""
    length = lengths(totals)
    kept = length > (_SHORTEST if weight is None else weight * _SHORTEST)
    if weight is not None:
        kept &= weight >= _ENOUGH
    np.copyto(length, np.inf, where=~kept)
    values = empty_planes((*length.shape, *[len(totals)] * (axes - 2)), np.float32)
    for place, total in zip(planes_in(values), totals, strict=True):
        np.divide(total, length, out=place)
    return values, kept
