"""Vectors of unit length, as files hold them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.transforms.planes import empty_planes, lengths, planes_in, planes_of

_SHORTEST = np.float32(0.1)  # what is shorter is no normal


def unit_vectors(array: np.ndarray, path: str | Path) -> np.ndarray:
    """Vectors of unit length, 0 where there is none, from ``(H, W, 3)`` values or colours.

    Colours of 8 bits mean ``n = 2 x / 255 - 1``, of 16 bits ``n = 2 x / 65535 - 1``. A vector
    shorter than 1/10 counts as none.

    Raises:
        DataFileError: wrong shape, or values outside -1..1 or not finite.
    """
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataFileError(f'{path}: expected normals of shape (H, W, 3), got {array.shape}.')
    if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
        raise DataFileError(
            f'{path}: expected floating-point normals or colours of 8 or 16 bits, got '
            f'{array.dtype}.'
        )
    vectors = empty_planes(array.shape, np.float32)
    planes = planes_in(vectors)
    for plane, stored in zip(planes, planes_of(array), strict=True):
        plane[...] = stored
        if array.dtype.kind == 'u':
            plane *= np.float32(2 / np.iinfo(array.dtype).max)
            plane -= 1
    if array.dtype.kind == 'f' and not _within(planes, 1.01):
        raise DataFileError(
            f'{path}: expected normals within -1..1 (0, 0, 0 where there is none), got values '
            f'from {array.min():g} to {array.max():g}.'
        )
    length = lengths(planes)
    np.copyto(length, np.inf, where=length <= _SHORTEST)  # anything over it is 0
    for plane in planes:
        plane /= length
    return vectors


def with_signs(vectors: np.ndarray, signs: Sequence[float]) -> np.ndarray:
    """Vectors ``(H, W, 3)`` whose components have these signs (1 or -1), written in place."""
    for channel, sign in enumerate(signs):
        if sign != 1:
            vectors[..., channel] *= np.float32(sign)
    return vectors


def _within(planes: np.ndarray, limit: float) -> bool:
    # (no comparison with NaN is true)
    return bool(planes.min(initial=0) >= -limit and planes.max(initial=0) <= limit)
