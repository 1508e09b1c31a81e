"""Primitives, and where rays from one point meet them.

A primitive is a unit shape in a local frame and an affine map ``x = axes @ p + center``. All rays
of a call share one origin, so that a ray costs only its direction; directions are not normalised
and the map keeps ``t``. Arrays of vectors are three planes ``(x, y, z)``, each of any shape.
"""

from typing import NamedTuple

import numpy as np

SPHERE, CAPSULE, FRUSTUM, BOX = range(4)
NEAR = np.float32(0.05)
_TINY = np.float32(1e-20)
_INF = np.float32(np.inf)

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


class Shape(NamedTuple):
    """A primitive.

    Attributes:
        kind: ``SPHERE`` (unit ball), ``CAPSULE`` (radius 1 about the z axis from -half to half),
            ``FRUSTUM`` (radius ``1 + taper z``, flat ends at -half and half), ``BOX`` ([-1, 1]^3).
        axes: ``(3, 3)``, the columns are the images of the local axes (metres).
        center: ``(3,)`` metres.
        half: half the length along z, in local units.
        taper: slope of the radius of a frustum.
    """

    kind: int
    axes: np.ndarray
    center: np.ndarray
    half: float = 1.0
    taper: float = 0.0

    def moved(self, rotation: np.ndarray, offset: np.ndarray) -> 'Shape':
        """The shape after ``x -> rotation x + offset``."""
        return self._replace(axes=rotation @ self.axes, center=rotation @ self.center + offset)

    @property
    def bounds(self) -> np.ndarray:
        """Half extents ``(3,)`` of the local bounding box."""
        if self.kind == CAPSULE:
            return np.array([1.0, 1.0, self.half + 1.0])
        if self.kind == FRUSTUM:
            widest = 1.0 + abs(self.taper) * self.half
            return np.array([widest, widest, self.half])
        return np.ones(3)


def box(center: tuple, size: tuple, rotation: np.ndarray | None = None) -> Shape:
    """A box of full edge lengths ``size``."""
    axes = np.diag(np.asarray(size, float) / 2)
    return Shape(BOX, axes if rotation is None else rotation @ axes, np.asarray(center, float))


def ellipsoid(center: tuple, radii: tuple, rotation: np.ndarray | None = None) -> Shape:
    """An ellipsoid with semi-axes ``radii``."""
    axes = np.diag(np.asarray(radii, float))
    return Shape(SPHERE, axes if rotation is None else rotation @ axes, np.asarray(center, float))


def _frame(direction: np.ndarray, across: tuple) -> np.ndarray:
    """A rotation whose z column is ``direction`` and whose x column leans towards ``across``."""
    z = direction / np.sqrt(direction @ direction)
    x = np.asarray(across, float)
    if abs(x @ z) > 0.999 * np.sqrt(x @ x):
        x = z[[1, 2, 0]]
    x = x - z * (x @ z)
    x /= np.sqrt(x @ x)
    y = z[[1, 2, 0]] * x[[2, 0, 1]] - z[[2, 0, 1]] * x[[1, 2, 0]]
    return np.array([x, y, z]).T


def capsule(
    start: tuple, end: tuple, radius: float, flat: float = 1.0, across: tuple = (1, 0, 0)
) -> Shape:
    """A capsule; its thickness at right angles to ``across`` is ``flat`` times the width."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axes = _frame(end - start, across) * radius * np.array([1.0, flat, 1.0])
    return Shape(CAPSULE, axes, (start + end) / 2, np.linalg.norm(end - start) / 2 / radius)


def frustum(start: tuple, end: tuple, radius: float, end_radius: float | None = None) -> Shape:
    """A cylinder, or a frustum of a cone, with flat ends."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    end_radius = radius if end_radius is None else end_radius
    middle = (radius + end_radius) / 2
    half = np.linalg.norm(end - start) / 2 / middle
    taper = (end_radius - radius) / (2 * middle * half)
    axes = _frame(end - start, (1, 0, 0)) * middle
    return Shape(FRUSTUM, axes, (start + end) / 2, half, taper)


def _sphere(o: np.ndarray, d: Planes) -> np.ndarray:
    inv = 1 / np.maximum(d[0] * d[0] + d[1] * d[1] + d[2] * d[2], _TINY)
    b = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) * inv
    # The discriminant from the point of closest approach: b^2 - ac cancels for far, small balls.
    px, py, pz = o[0] + b * d[0], o[1] + b * d[1], o[2] + b * d[2]
    disc = 1 - (px * px + py * py + pz * pz)
    t = b - np.sqrt(np.maximum(disc, 0) * inv)
    return np.where((disc > 0) & (t > NEAR), t, _INF)


def _capsule(o: np.ndarray, d: Planes, half: np.float32) -> np.ndarray:
    inv = 1 / np.maximum(d[0] * d[0] + d[1] * d[1], _TINY)
    cross = o[0] * d[1] - o[1] * d[0]
    disc = 1 - cross * cross * inv
    t = -(o[0] * d[0] + o[1] * d[1]) * inv - np.sqrt(np.maximum(disc, 0) * inv)
    z = o[2] + t * d[2]
    # A ray that enters the endless cylinder beyond an end can only enter through that end's ball.
    end = np.where(z > 0, half, -half)
    ball = _sphere_at(o, end, d)
    t = np.where(np.abs(z) <= half, np.where(t > NEAR, t, _INF), ball)
    return np.where(disc > 0, t, _INF)


def _sphere_at(o: np.ndarray, z: np.ndarray, d: Planes) -> np.ndarray:
    return _sphere((o[0], o[1], o[2] - z), d)


def _frustum(o: np.ndarray, d: Planes, half: np.float32, taper: np.float32) -> np.ndarray:
    slope = taper * d[2]
    at_origin = 1 + taper * o[2]
    a = d[0] * d[0] + d[1] * d[1] - slope * slope
    a = np.where(np.abs(a) < _TINY, _TINY, a)
    b = o[0] * d[0] + o[1] * d[1] - at_origin * slope
    # (ox dy - oy dx)^2 is what remains of b^2 - ac for a cylinder, free of cancellation.
    cross = o[0] * d[1] - o[1] * d[0]
    ux, uy = at_origin * d[0] - o[0] * slope, at_origin * d[1] - o[1] * slope
    disc = ux * ux + uy * uy - cross * cross
    root = np.sqrt(np.maximum(disc, 0))
    best = np.full(np.broadcast(*d).shape, _INF, np.float32)
    for sign in (-1, 1):
        t = (-b + sign * root) / a
        z = o[2] + t * d[2]
        good = (disc > 0) & (np.abs(z) <= half) & (t > NEAR)
        best = np.where(good & (t < best), t, best)
    for end in (-half, half):
        t = (end - o[2]) / d[2]
        x, y = o[0] + t * d[0], o[1] + t * d[1]
        radius = 1 + taper * end
        good = (x * x + y * y <= radius * radius) & (t > NEAR)
        best = np.where(good & (t < best), t, best)
    return best


def _box(o: np.ndarray, d: Planes) -> np.ndarray:
    near, far = -_INF, _INF
    for k in range(3):
        inv = 1 / d[k]
        low, high = (-1 - o[k]) * inv, (1 - o[k]) * inv
        near = np.maximum(near, np.minimum(low, high))
        far = np.minimum(far, np.maximum(low, high))
    return np.where((near < far) & (near > NEAR), near, _INF)


def intersect(kind: int, o: np.ndarray, d: Planes, half: float, taper: float) -> np.ndarray:
    """Smallest ``t > NEAR`` at which ``o + t d`` (local frame, float32) meets a unit shape.

    Args:
        kind: Which shape.
        o: ``(3,)`` origin.
        d: Three planes of directions.
        half, taper: See :class:`Shape`.

    Returns:
        ``t``, infinite where the ray misses. Call it under ``np.errstate(all='ignore')``.
    """
    if kind == SPHERE:
        return _sphere(o, d)
    if kind == CAPSULE:
        return _capsule(o, d, np.float32(half))
    if kind == FRUSTUM:
        return _frustum(o, d, np.float32(half), np.float32(taper))
    return _box(o, d)


def local_normal(kind: int, p: Planes, half: float, taper: float) -> Planes:
    """Outward normals (not normalised, local frame) at the surface points ``p``."""
    x, y, z = p
    if kind == SPHERE:
        return p
    if kind == CAPSULE:
        return x, y, z - np.clip(z, -half, half).astype(np.float32)
    if kind == FRUSTUM:
        radius = 1 + np.float32(taper) * z
        # Nearer to an end plane than to the side, both in local units.
        flat = (half - np.abs(z)) < np.abs(np.sqrt(x * x + y * y) - radius)
        zero = np.float32(0)
        return (
            np.where(flat, zero, x),
            np.where(flat, zero, y),
            np.where(flat, np.sign(z), -np.float32(taper) * radius),
        )
    ax, ay, az = np.abs(x), np.abs(y), np.abs(z)
    on_x = (ax >= ay) & (ax >= az)
    on_y = ~on_x & (ay >= az)
    return (
        np.where(on_x, np.sign(x), 0),
        np.where(on_y, np.sign(y), 0),
        np.where(on_x | on_y, 0, np.sign(z)),
    )
