"""Shading: a point light with exact shadows, a weak light at the camera, and an even sky.

``shading = ambient (0.9 + 0.1 n_z) + strength fall V max(0, n.l) + fill max(0, n.v)`` with ``V``
0 where a thing stands between the point and the lamp, l and v the directions to the lamp and the
camera, and ``fall = 1 / (1 + (distance / reach)^2)``. Highlights are Blinn-Phong's.
"""

import numpy as np

from mtpeft.datasets.scenes.elements import Elements
from mtpeft.datasets.scenes.geometry import intersect
from mtpeft.datasets.scenes.scene import Scene

_F = np.float32
_SHARPNESS = 40
# A shadow must fall from at least this far (metres): neighbouring primitives of a body touch.
_CLEARANCE = 0.02

Planes = tuple[np.ndarray, ...]


def light_surface(
    scene: Scene, elements: Elements, points: Planes, normals: Planes, shininess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shading and highlights ``(N,)`` float32 at surface points."""
    light = scene.light
    away = [p - _F(c) for p, c in zip(points, light.position, strict=True)]
    distance = np.sqrt(away[0] ** 2 + away[1] ** 2 + away[2] ** 2)
    facing = -(away[0] * normals[0] + away[1] * normals[1] + away[2] * normals[2]) / distance
    lit = facing > 0
    lit[lit] = ~shadowed(elements, light.position, [a[lit] for a in away], distance[lit])
    fall = 1 / (1 + (distance / _F(light.reach)) ** 2)
    direct = np.where(lit, facing * fall, 0) * _F(light.strength)

    view = [_F(c) - p for p, c in zip(points, scene.camera.position, strict=True)]
    length = np.sqrt(view[0] ** 2 + view[1] ** 2 + view[2] ** 2)
    frontal = np.maximum(view[0] * normals[0] + view[1] * normals[1] + view[2] * normals[2], 0)
    shading = _F(light.ambient) * (_F(0.9) + _F(0.1) * normals[2])
    shading = shading + direct + _F(light.fill) * frontal / length
    return shading.astype(_F), _highlights(normals, away, distance, view, length, lit, shininess)


def _highlights(
    normals: Planes, away: Planes, distance: np.ndarray, view: Planes, length: np.ndarray,
    lit: np.ndarray, shininess: np.ndarray,
) -> np.ndarray:  # fmt: skip
    out = np.zeros(shininess.shape, _F)
    where = np.flatnonzero((shininess > 0) & lit)
    far, near = distance[where], length[where]
    half = [v[where] / near - a[where] / far for v, a in zip(view, away, strict=True)]
    size = np.sqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
    cosine = sum(h * n[where] for h, n in zip(half, normals, strict=True)) / size
    out[where] = shininess[where] * np.maximum(cosine, 0) ** _SHARPNESS
    return out


def shadowed(elements: Elements, lamp: np.ndarray, away: list, distance: np.ndarray) -> np.ndarray:
    """Whether something lies between ``lamp`` and the points ``lamp + away``.

    Things, then their primitives, are tested only where the segment passes their bounding ball.
    """
    dark = np.zeros(distance.shape, bool)
    if not elements.count:
        return dark
    origins = elements.origin(lamp)
    centers = elements.center - lamp
    unit = [a / distance for a in away]
    limit = 1 - _F(_CLEARANCE) / distance
    starts = np.flatnonzero(np.r_[True, np.diff(elements.thing) != 0])
    for first, last in zip(starts, np.r_[starts[1:], elements.count], strict=True):
        own = slice(first, last)
        middle = centers[own].mean(0)
        radius = (np.sqrt(((centers[own] - middle) ** 2).sum(1)) + elements.radius[own]).max()
        near = np.flatnonzero(_passes(middle, radius, unit, distance) & ~dark)
        if not near.size:
            continue
        part = [a[near] for a in away]
        part_unit, part_distance = [a[near] for a in unit], distance[near]
        for i in range(first, last):
            reached = _passes(centers[i], elements.radius[i], part_unit, part_distance)
            close = np.flatnonzero(reached)
            if not close.size:
                continue
            m = elements.inverse[i].astype(_F)
            x, y, z = (a[close] for a in part)
            d = tuple(m[k, 0] * x + m[k, 1] * y + m[k, 2] * z for k in range(3))
            t = intersect(elements.kind[i], origins[i], d, elements.half[i], elements.taper[i])
            dark[near[close[t < limit[near[close]]]]] = True
    return dark


def _passes(center: np.ndarray, radius: float, unit: list, distance: np.ndarray) -> np.ndarray:
    """Whether segments from 0 along ``unit`` of length ``distance`` may meet a ball."""
    c = center.astype(_F)
    along = unit[0] * c[0] + unit[1] * c[1] + unit[2] * c[2]
    apart = _F((center**2).sum()) - along * along
    # The slack covers the rounding of a lamp far away.
    return (apart < _F(radius**2 + 2e-3)) & (distance > along - _F(radius))
