"""Normals and boundaries from the depth and the labels of NYUDv2."""

from typing import NamedTuple

import cv2
import numpy as np

WINDOW = 15
"""Side of the window of the plane fit, in pixels of the 480 x 640 frame."""
_MISFIT = 0.02
_RIM = 10


class Intrinsics(NamedTuple):
    """A pinhole camera, in pixels: ``x = fx X / Z + cx``, ``y = fy Y / Z + cy``."""

    fx: float
    fy: float
    cx: float
    cy: float


KINECT = Intrinsics(518.8579, 519.4696, 325.5824, 253.7362)
"""The colour camera of NYUDv2 at 480 x 640 (its toolbox's ``camera_params.m``)."""


def normals_from_depth(
    depth: np.ndarray, camera: Intrinsics = KINECT, window: int = WINDOW
) -> np.ndarray:
    """Unit normals ``(H, W, 3)`` float32 of a depth map ``(H, W)`` in metres (0 = no depth).

    On a plane inverse depth is linear in the viewing ray: with ``u = (x - cx) / fx`` and
    ``v = (y - cy) / fy``, ``1 / Z = a u + b v + c`` for the normal ``-(a, b, c) / |(a, b, c)|``.
    ``a``, ``b``, ``c`` are fitted by least squares in a window around each pixel. Camera axes: x
    right, y down, z forward; normals face the camera.

    A normal is (0, 0, 0), invalid, where the pixel has no depth, less than half of its window has,
    or the plane misses the window's inverse depths by more than 2 % (root mean square): the window
    then spans two surfaces.

    Args:
        depth: Depth in metres.
        camera: Intrinsics of the depth map.
        window: Side of the window in pixels, odd.

    Example:
        >>> normals_from_depth(np.full((20, 20), 2.0))[10, 10].round(6).tolist()
        [-0.0, -0.0, -1.0]
    """
    known = depth > 0
    q = np.divide(1, depth, out=np.zeros(depth.shape), where=known)
    height, width = depth.shape
    u = (np.arange(width)[None] - camera.cx) / camera.fx * known
    v = (np.arange(height)[:, None] - camera.cy) / camera.fy * known

    def box(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, -1, (window, window), borderType=cv2.BORDER_REFLECT)

    share = box(known.astype(np.float64))
    scale = 1 / np.maximum(share, 1e-9)
    mu, mv, mq = box(u) * scale, box(v) * scale, box(q) * scale
    cuu, cvv, cqq = (
        box(x * x) * scale - m * m for x, m in ((u, mu), (v, mv), (q, mq))
    )  # fmt: skip
    cuv = box(u * v) * scale - mu * mv
    cuq, cvq = box(u * q) * scale - mu * mq, box(v * q) * scale - mv * mq
    det = np.maximum(cuu * cvv - cuv * cuv, 1e-30)
    a = (cuq * cvv - cvq * cuv) / det
    b = (cvq * cuu - cuq * cuv) / det
    plane = np.stack([a, b, mq - a * mu - b * mv], axis=-1)
    normals = -plane / np.maximum(np.linalg.norm(plane, axis=-1, keepdims=True), 1e-12)
    misfit = np.sqrt(np.maximum(cqq - a * cuq - b * cvq, 0))
    normals[~known | (share < 0.5) | (misfit > _MISFIT * mq)] = 0
    return normals.astype(np.float32)


def close_rims(regions: np.ndarray) -> np.ndarray:
    """Give unlabelled pixels (0) within 10 pixels of a region the nearest region.

    The annotators' polygons leave thin unlabelled rims between objects that touch.

    Example:
        >>> close_rims(np.array([[1, 1, 0, 0, 2]])).tolist()
        [[1, 1, 1, 2, 2]]
    """
    from scipy.ndimage import distance_transform_edt

    if regions.all() or not regions.any():
        return regions
    distance, nearest = distance_transform_edt(regions == 0, return_indices=True)
    return np.where(distance <= _RIM, regions[tuple(nearest)], 0)


def boundaries(regions: np.ndarray) -> np.ndarray:
    """1 where a region meets another one on its right or below, ``(H, W)`` uint8.

    What borders on unlabelled pixels (0) is no boundary: nobody knows what is there.

    Example:
        >>> boundaries(np.array([[1, 1, 2, 0]])).tolist()
        [[0, 1, 0, 0]]
    """
    edge = np.zeros(regions.shape, np.uint8)
    for here, there, out in (
        (regions[:, :-1], regions[:, 1:], edge[:, :-1]),
        (regions[:-1], regions[1:], edge[:-1]),
    ):
        out |= (here != there) & (here > 0) & (there > 0)
    return edge
