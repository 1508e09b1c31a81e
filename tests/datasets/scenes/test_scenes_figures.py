"""People are whole, stand on the floor, and sit on seats."""

import numpy as np
import pytest

from mtpeft.datasets.scenes.figures import (
    POSES,
    SEATED,
    SEATED_HEIGHT,
    jitter,
    person,
    sample_clothes,
)

CLOTHES = sample_clothes(np.random.default_rng(0), 'a')


def lowest(element) -> float:
    """Height of the lowest point of a capsule or ellipsoid, from its axes."""
    shape = element.shape
    axis = shape.axes[:, 2] * (shape.half if shape.kind == 1 else 0)
    return shape.center[2] - abs(axis[2]) - np.linalg.norm(shape.axes[2])


@pytest.mark.parametrize('name', POSES)
@pytest.mark.parametrize('stature', [1.1, 1.8])
def test_feet_touch_the_floor_and_limbs_hang_together(name, stature):
    figure = person(jitter(POSES[name], np.random.default_rng(1)), CLOTHES, stature)
    feet = min(lowest(e) for e in figure.elements if e.part == 6)
    assert abs(feet) < 0.03
    assert {e.part for e in figure.elements} == {1, 2, 3, 4, 5, 6}
    head = max(e.shape.center[2] for e in figure.elements if e.part == 1)
    assert head < 1.05 * stature
    for inner, outer in ((3, 4), (5, 6)):
        a = np.array([e.shape.center for e in figure.elements if e.part == inner])
        b = np.array([e.shape.center for e in figure.elements if e.part == outer])
        gap = np.linalg.norm(a[:, None] - b, axis=-1).min(1)
        assert (gap < 0.3 * stature).all()


def test_standing_height_is_the_stature():
    figure = person(POSES['stand'], CLOTHES, 1.7)
    top = max(e.shape.center[2] + e.shape.axes[2, 2] for e in figure.elements if e.part == 1)
    assert abs(top - 1.7) < 0.1


def test_sitter_rests_on_the_seat():
    figure = person(SEATED, CLOTHES, 1.7)
    hips = min(lowest(e) for e in figure.elements if e.part == 2)
    assert abs(hips - SEATED_HEIGHT) < 0.02
    thighs = [lowest(e) for e in figure.elements if e.part == 5]
    assert min(thighs) > SEATED_HEIGHT - 0.08


def test_jitter_moves_and_keeps_knees_from_bending_forward():
    rng = np.random.default_rng(0)
    poses = [jitter(POSES['walk'], rng) for _ in range(20)]
    assert len(set(poses)) == 20
    assert all(min(p.knee) >= 0 for p in poses)
    assert {p.hip[0] > p.hip[1] for p in poses} == {True, False}
