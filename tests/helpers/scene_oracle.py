"""What a primitive of a scene is, point by point."""

import numpy as np

from mtpeft.datasets.scenes.geometry import BOX, CAPSULE, FRUSTUM, SPHERE, Shape


def inside(shape: Shape, points: np.ndarray) -> np.ndarray:
    """Whether ``points (N, 3)`` lie in the shape: its definition, in float64."""
    x, y, z = np.linalg.solve(shape.axes, (points - shape.center).T)
    if shape.kind == SPHERE:
        return x**2 + y**2 + z**2 < 1
    if shape.kind == CAPSULE:
        nearest = np.clip(z, -shape.half, shape.half)
        return x**2 + y**2 + (z - nearest) ** 2 < 1
    if shape.kind == FRUSTUM:
        return (np.hypot(x, y) < 1 + shape.taper * z) & (np.abs(z) < shape.half)
    assert shape.kind == BOX
    return (np.abs(x) < 1) & (np.abs(y) < 1) & (np.abs(z) < 1)
