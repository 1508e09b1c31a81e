"""Ray intersections against an oracle that only asks whether a point is inside."""

import numpy as np
import pytest
from helpers.scene_oracle import inside

from mtpeft.datasets.scenes.geometry import (
    box,
    capsule,
    ellipsoid,
    frustum,
    intersect,
    local_normal,
)
from mtpeft.datasets.scenes.scene import turn

TILT = turn('z', 0.7) @ turn('x', 0.4)
SHAPES = {
    'ball': ellipsoid((0.2, 3, 1), (0.5, 0.5, 0.5)),
    'ellipsoid': ellipsoid((0, 3, 1), (0.2, 0.7, 0.4), TILT),
    'capsule': capsule((-0.5, 2.5, 0.6), (0.4, 3.5, 1.2), 0.2),
    'flat capsule': capsule((0, 3, 0.5), (0.1, 3, 1.5), 0.3, 0.5),
    'cylinder': frustum((0, 3, 0.5), (0.3, 3.2, 1.4), 0.4),
    'frustum': frustum((0, 3, 0.5), (0, 3.2, 1.4), 0.5, 0.2),
    'flat cone': frustum((0, 3, 0.9), (0, 3.2, 1.0), 0.7, 0.1),
    'box': box((0, 3, 1), (0.6, 0.8, 1.0)),
    'tilted box': box((0, 3, 1), (0.6, 0.8, 1.0), TILT),
}


def first_entry(shape, origin: np.ndarray, ray: np.ndarray) -> float:
    """Where a ray enters: steps of 2 mm, then bisection."""
    t = np.arange(0.05, 6, 0.002)
    hits = np.flatnonzero(inside(shape, origin + t[:, None] * ray))
    if not hits.size:
        return np.inf
    low, high = t[hits[0]] - 0.002, t[hits[0]]
    for _ in range(40):
        middle = (low + high) / 2
        if inside(shape, (origin + middle * ray)[None])[0]:
            high = middle
        else:
            low = middle
    return high


def cast(shape, origin: np.ndarray, rays: np.ndarray):
    """The code under test, for world rays ``(N, 3)``."""
    inverse = np.linalg.inv(shape.axes)
    o = (inverse @ (origin - shape.center)).astype(np.float32)
    d = tuple((rays @ inverse.T).T.astype(np.float32))
    with np.errstate(all='ignore'):
        t = intersect(shape.kind, o, d, shape.half, shape.taper)
        at = np.where(np.isfinite(t), t, 0)
        p = tuple(o[k] + at * d[k] for k in range(3))
        local = np.stack(local_normal(shape.kind, p, shape.half, shape.taper), 1)
    world = local @ inverse
    return t, world / np.linalg.norm(world, axis=1, keepdims=True)


@pytest.mark.parametrize('name', SHAPES)
def test_rays_enter_where_a_march_through_the_solid_says(name):
    shape, rng = SHAPES[name], np.random.default_rng(3)
    origin = np.array([0.3, 0.0, 1.3])
    rays = np.c_[rng.uniform(-0.4, 0.3, 90), np.ones(90), rng.uniform(-0.4, 0.15, 90)]
    t, normals = cast(shape, origin, rays)
    want = np.array([first_entry(shape, origin, ray) for ray in rays])
    # A chord shorter than the oracle's step may escape it.
    sure = np.isfinite(want)
    assert 8 <= sure.sum() <= 85
    assert np.abs(t[sure] - want[sure]).max() < 1e-4
    points = origin + t[:, None] * rays
    grazing = np.isfinite(t) & ~sure
    assert not inside(shape, points[grazing] + 2e-3 * rays[grazing]).any()
    # Just outside along the normal, just inside against it.
    points, normals = points[sure], normals[sure]
    assert not inside(shape, points + 1e-3 * normals).any()
    assert inside(shape, points - 1e-3 * normals).mean() > 0.9
    assert (np.einsum('ni,ni->n', normals, rays[sure]) < 0).all()


@pytest.mark.parametrize('name', SHAPES)
def test_normal_is_the_gradient_of_the_entry_surface(name):
    """Three rays a hair apart span the tangent plane."""
    shape, rng = SHAPES[name], np.random.default_rng(5)
    origin = np.array([0.3, 0.0, 1.3])
    rays = np.c_[rng.uniform(-0.3, 0.2, 80), np.ones(80), rng.uniform(-0.3, 0.1, 80)]
    _, normals = cast(shape, origin, rays)
    spans = []
    for shift in ((0, 0, 0), (2e-3, 0, 0), (0, 0, 2e-3)):
        moved = rays + shift
        t = np.array([first_entry(shape, origin, ray) for ray in moved])
        spans.append(origin + np.where(np.isfinite(t), t, np.nan)[:, None] * moved)
    plane = np.cross(spans[1] - spans[0], spans[2] - spans[0])
    plane /= np.linalg.norm(plane, axis=1, keepdims=True)
    cosine = np.abs((plane * normals).sum(1))
    known = np.isfinite(cosine)
    assert known.sum() >= 10
    # At rims and ridges the three points lie on different faces.
    assert np.median(cosine[known]) > 0.9995
    assert (cosine[known] > 0.99).mean() > 0.8


def test_moved_shapes_move_their_points():
    shape = SHAPES['frustum']
    moved = shape.moved(TILT, np.array([1.0, 2.0, 3.0]))
    points = shape.center + np.random.default_rng(0).uniform(-0.6, 0.6, (200, 3))
    there = points @ TILT.T + [1, 2, 3]
    assert (inside(shape, points) == inside(moved, there)).all()
    assert 0 < inside(shape, points).sum() < 200


def test_bounds_hold_the_shape():
    rng = np.random.default_rng(1)
    for shape in SHAPES.values():
        points = shape.center + rng.uniform(-1.2, 1.2, (2000, 3))
        local = np.linalg.solve(shape.axes, (points - shape.center).T).T
        within = inside(shape, points)
        assert within.any()
        assert (np.abs(local[within]) <= shape.bounds).all()
