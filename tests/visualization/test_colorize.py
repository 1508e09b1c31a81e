"""colorize: colours of labels and predictions."""

import numpy as np
import pytest

from mtpeft.tasks import build_tasks
from mtpeft.visualization.colorize import colorize

TASKS = build_tasks(['semseg', 'human_parts', 'sal', 'edge', 'depth', 'normals'])


@pytest.mark.parametrize('name', list(TASKS))
def test_any_task_gives_rgb_and_invalid_is_grey_or_black(name):
    task = TASKS[name]
    shape = (4, 5, 3) if name == 'normals' else (4, 5)
    invalid = np.full(shape, task.ignore_value, np.float32)
    drawn = colorize(task, invalid)
    assert drawn.shape == (4, 5, 3) and drawn.dtype == np.uint8
    grey = 128 if task.kind in ('classes', 'binary') else 0
    assert (drawn == grey).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_classes_take_the_palette(dtype):
    label = np.arange(21, dtype=dtype).reshape(3, 7)
    drawn = colorize(TASKS['semseg'], label)
    palette = TASKS['semseg'].palette
    assert drawn.reshape(-1, 3).tolist() == [list(c) for c in palette]
    assert (colorize(TASKS['semseg'], label[None]) == drawn).all()  # (1, H, W) of a prediction
    assert (colorize(TASKS['semseg'], label[..., None]) == drawn).all()


def test_probabilities_are_grey_levels():
    drawn = colorize(TASKS['sal'], np.array([[0, 0.5, 1.0]]))
    assert drawn[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]


def test_lines_are_dark_on_white():
    drawn = colorize(TASKS['edge'], np.array([[0, 0.5, 1.0]]))
    assert drawn[0].tolist() == [[255] * 3, [128] * 3, [0] * 3]


def test_normals_are_blue_to_the_viewer_green_up_and_do_not_wrap():
    drawn = colorize(TASKS['normals'], np.array([[(1.02, -1.02, 0.0), (0, 0, -1), (0, 1, 0)]]))
    assert drawn[0].tolist() == [[255, 255, 128], [128, 128, 255], [128, 0, 128]]


def test_depth_is_monotonic_in_brightness_and_shares_a_range():
    depth = np.array([[1.0, 2, 3, 0]])
    drawn = colorize(TASKS['depth'], depth)
    light = drawn.astype(int).sum(-1)[0]
    assert light[0] > light[1] > light[2] > light[3] == 0
    pair = colorize(TASKS['depth'], np.array([[2.0, np.nan]]), value_range=(1, 3))
    assert pair[0, 0].tolist() == drawn[0, 1].tolist() and not pair[0, 1].any()


_WRONG = [('sal', (4,)), ('normals', (4, 5)), ('normals', (3, 4, 2))]


@pytest.mark.parametrize('name, shape', _WRONG)
def test_another_shape_is_named(name, shape):
    with pytest.raises(ValueError, match=name):
        colorize(TASKS[name], np.zeros(shape))
