"""Maps at the size of a drawing."""

import numpy as np
import pytest

from mtpeft.tasks import build_tasks
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.fitted import fitted, thinned, value_extremes

TASKS = build_tasks(dict(
    semseg=dict(num_classes=21), sal=dict(), edge=dict(), normals=dict(), depth=dict(),
))  # fmt: skip


def colours(rgb):
    return {tuple(map(int, pixel)) for pixel in rgb.reshape(-1, 3)}


@pytest.mark.parametrize('name', TASKS)
def test_at_its_own_size_a_map_is_as_it_is(name):
    rng = np.random.default_rng(0)
    array = dict(
        semseg=rng.integers(0, 21, (9, 12)), sal=rng.random((9, 12)), edge=rng.random((9, 12)),
        normals=rng.normal(size=(9, 12, 3)), depth=1 + rng.random((9, 12)),
    )[name]  # fmt: skip
    np.testing.assert_array_equal(fitted(TASKS[name], array, (9, 12)), colorize(TASKS[name], array))


@pytest.mark.parametrize('size', [(50, 70), (3, 4)])
def test_no_class_appears_that_is_not_in_the_map(size):
    array = np.full((10, 14), 3)
    array[2:8, 5:11], array[0] = 15, 255
    palette = TASKS['semseg'].palette
    known = {tuple(palette[3]), tuple(palette[15]), (128, 128, 128)}
    assert colours(fitted(TASKS['semseg'], array, size)) <= known


def test_the_border_of_a_class_becomes_smooth_and_keeps_its_place():
    array = np.tri(12, 12, dtype=int) * 15  # a staircase
    drawn = (fitted(TASKS['semseg'], array, (120, 120)) == TASKS['semseg'].palette[15]).all(-1)
    assert drawn.mean() == pytest.approx(array.astype(bool).mean(), abs=0.02)
    steps = np.diff(drawn.sum(1))
    # a staircase has eleven steps of ten pixels
    assert np.abs(steps).max() < 6


def test_holes_of_depth_give_no_values_of_their_own():
    array = np.full((8, 8), 5.0)
    array[:, 4:] = 0  # invalid
    drawn = fitted(TASKS['depth'], array, (64, 64), (1.0, 9.0))
    middle = tuple(map(int, colorize(TASKS['depth'], np.full((1, 1), 5.0), (1.0, 9.0))[0, 0]))
    assert colours(drawn) == {middle, (0, 0, 0)}


def test_values_between_two_pixels_are_between_them():
    array = np.array([[1.0, 3.0], [1.0, 3.0]])
    level = fitted(TASKS['sal'], (array - 1) / 2, (2, 9))[0, :, 0].astype(int)
    assert (np.diff(level) >= 0).all() and level[0] == 0 and level[-1] == 255
    assert value_extremes(TASKS['depth'], array) == (1, 3)


def test_class_maps_lie_over_the_photograph_and_background_lets_it_through():
    array = np.zeros((8, 8), int)
    array[:, 4:] = 15
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    plain = fitted(TASKS['semseg'], array, (8, 8))
    over = fitted(TASKS['semseg'], array, (8, 8), photo=photo)
    grey, left = photo.mean(-1), over[:, :4].astype(float)
    assert np.ptp(left, -1).max() == 0  # grey
    assert np.corrcoef(left[..., 0].ravel(), grey[:, :4].ravel())[0, 1] > 0.999
    right = over[:, 4:].astype(int)
    assert (right[..., 0] > right[..., 1:].max(-1) + 60).all()  # a person is red
    depth = np.ones((8, 8))
    np.testing.assert_array_equal(
        fitted(TASKS['depth'], depth, (8, 8), photo=photo), fitted(TASKS['depth'], depth, (8, 8))
    )
    assert (plain != over).any()


def test_thin_lines_are_not_lost_in_a_large_map():
    array = np.zeros((2000, 2000))
    array[1001] = 1
    small = thinned(array, (100, 100), lines=True)
    assert small.shape == (200, 200) and (small.max(0) == 1).all()
    assert (fitted(TASKS['edge'], array, (100, 100)).min(0) < 160).all()


def test_predicted_edges_are_thinned_and_labels_are_not():
    across = np.tile(np.exp(-(((np.arange(64) - 31) / 4.0) ** 2)), (64, 1))  # a thick line
    label = fitted(TASKS['edge'], (across > 0.5).astype(int), (64, 64))[..., 0]
    drawn = fitted(TASKS['edge'], across, (64, 64), thin=True)[..., 0]
    assert ((label < 128).sum(1) == 7).all()
    assert (np.nonzero(drawn[32] < 250)[0] == [31]).all() and drawn[32, 31] == 0
