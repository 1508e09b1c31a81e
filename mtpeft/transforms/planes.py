"""Labels of several channels, kept one plane after another in memory.

An array ``(H, W, C)`` of this package is a view of memory ``(C, H, W)``, as a sample wants it in
the end. Every operation then runs over whole planes, which takes NumPy and OpenCV a fraction of
what three numbers a pixel take. To everybody else it is an array like any other.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

_FLIPPED_BY_OPENCV = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


def planes_of(array: np.ndarray) -> list[np.ndarray]:
    """The channels of ``(H, W)`` or ``(H, W, C)``, each contiguous; views where they can be.

    Example:
        >>> [plane.tolist() for plane in planes_of(np.array([[[1, 2], [3, 4]]]))]
        [[[1, 3]], [[2, 4]]]
    """
    if array.ndim == 2:
        return [np.ascontiguousarray(array)]
    if array.dtype in (np.uint8, np.float32) and 1 < array.shape[2] <= 4:
        if array.flags.c_contiguous:
            return list(cv2.split(array))
    return [np.ascontiguousarray(plane) for plane in planes_in(array)]


def planes_in(array: np.ndarray) -> Sequence[np.ndarray]:
    """Views of the channels of ``(H, W)`` or ``(H, W, C)``, to write into.

    Example:
        >>> array = np.zeros((1, 2, 3))
        >>> planes_in(array)[2][:] = 7
        >>> array.tolist()
        [[[0.0, 0.0, 7.0], [0.0, 0.0, 7.0]]]
    """
    return [array] if array.ndim == 2 else array.transpose(2, 0, 1)


def empty_planes(shape: Sequence[int], dtype: np.typing.DTypeLike) -> np.ndarray:
    """An array of this shape, ``(H, W)`` or ``(H, W, C)``, whose channels are planes in memory.

    Example:
        >>> empty_planes((4, 6, 3), np.float32).transpose(2, 0, 1).flags.c_contiguous
        True
    """
    if len(shape) == 2:
        return np.empty(shape, dtype)
    return np.empty((*shape[2:], *shape[:2]), dtype).transpose(1, 2, 0)


def map_planes(array: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``change`` every plane of ``(H, W)`` or ``(H, W, C)`` by itself."""
    if array.ndim == 2:
        return change(np.ascontiguousarray(array))
    return joined([change(plane) for plane in planes_of(array)])


def joined(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Planes ``(H, W)`` as one array ``(H, W, C)``."""
    return np.stack(planes).transpose(1, 2, 0)


def fill_but(array: np.ndarray, kept: np.ndarray | None, value: float) -> None:
    """Write ``value`` into ``array`` but where ``kept``, ``(H, W)``; ``None`` keeps all."""
    if kept is None:
        return
    dropped = ~kept
    for plane in planes_in(array):
        np.copyto(plane, value, where=dropped, casting='unsafe')


def all_finite(array: np.ndarray) -> bool:
    """Whether no number is NaN or infinite.

    Example:
        >>> all_finite(np.array([1.0, np.inf, -np.inf])), all_finite(np.array([1, 2]))
        (False, True)
    """
    if array.dtype.kind != 'f':
        return True
    with np.errstate(over='ignore', invalid='ignore'):
        # a sum is finite only if every term is, and takes a third of asking each
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def lengths(planes: Sequence[np.ndarray]) -> np.ndarray:
    """The length of the vector of each pixel, ``(H, W)`` float32.

    Example:
        >>> lengths([np.array([[3.0]], np.float32), np.array([[4.0]], np.float32)]).tolist()
        [[5.0]]
    """
    length = planes[0] * planes[0]
    for plane in planes[1:]:
        cv2.accumulateSquare(np.ascontiguousarray(plane), length)
    return np.sqrt(length, out=length)


def mirrored(array: np.ndarray) -> np.ndarray:
    """``array`` ``(H, W)`` or ``(H, W, C)`` from right to left, in memory of its own."""
    known = array.size and array.dtype in _FLIPPED_BY_OPENCV
    if known and array.ndim == 3 and array.transpose(2, 0, 1).flags.c_contiguous:
        flipped = empty_planes(array.shape, array.dtype)
        for plane, place in zip(planes_in(array), planes_in(flipped), strict=True):
            cv2.flip(plane, 1, dst=place)
        return flipped
    if not known or array.ndim == 3 and (array.shape[2] > 4 or not array.flags.c_contiguous):
        return array[:, ::-1].copy()
    return cv2.flip(array, 1).reshape(array.shape)
