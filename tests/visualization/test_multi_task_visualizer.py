"""Drawings of a sample."""

import cv2
import numpy as np
import pytest
import torch

from mtpeft.structures import MultiTaskDataSample
from mtpeft.visualization import MultiTaskVisualizer, colorize
from mtpeft.visualization.grid import cell, grid
from mtpeft.visualization.visualizer import write_picture


@pytest.fixture
def visualizer():
    return MultiTaskVisualizer(tasks=['sal', 'depth', 'normals'], height=64)


def sample(truth=(), pred=()):
    made = MultiTaskDataSample()
    values = dict(
        sal=torch.ones(1, 64, 96), depth=torch.rand(1, 64, 96) + 1,
        normals=torch.nn.functional.normalize(torch.rand(3, 64, 96), dim=0),
    )  # fmt: skip
    for name in truth:
        made.set_gt(name, values[name])
    for name in pred:
        made.set_pred(name, values[name])
    return made


@pytest.mark.parametrize(
    'truth, pred, rows, columns',
    [
        (['sal'], ['sal'], 2, 2),
        ([], ['sal', 'depth'], 1, 3),
        (['depth'], [], 1, 2),
        (['depth'], ['sal', 'depth', 'normals'], 2, 4),
        ([], [], 1, 1),
    ],
)
def test_rows_and_columns(visualizer, truth, pred, rows, columns):
    drawn = visualizer.draw(np.zeros((64, 96, 3), np.uint8), sample(truth, pred))
    assert drawn.dtype == np.uint8
    assert drawn.shape == (rows * (64 + 18 + 4), columns * (96 + 4), 3)


@pytest.mark.parametrize(
    'truth, pred, rows, columns',
    [
        (['sal'], ['sal'], 2, 1),
        ([], ['sal', 'depth'], 1, 2),
        (['depth'], [], 1, 1),
        (['depth'], ['sal', 'depth', 'normals'], 2, 3),
        ([], [], 1, 1),
    ],
)
def test_without_the_photograph(visualizer, truth, pred, rows, columns):
    made, colour = sample(truth, pred), np.uint8([12, 200, 99])
    whole = visualizer.draw(np.full((64, 96, 3), colour), made)
    visualizer.draw_input = False
    drawn = visualizer.draw(np.full((64, 96, 3), colour), made)
    assert drawn.shape == (rows * (64 + 18 + 4), columns * (96 + 4), 3)
    assert (whole == colour).all(-1).sum() == 64 * 96
    assert not (drawn == colour).all(-1).any()
    if truth or pred:  # all the rest is as it was
        np.testing.assert_array_equal(drawn, whole[:, 100:])


def test_truth_and_prediction_of_depth_share_their_colours(visualizer):
    made = MultiTaskDataSample()
    made.set_gt('depth', torch.linspace(1, 3, 64 * 96).view(1, 64, 96))
    made.set_pred('depth', torch.full((1, 64, 96), 2.0))
    drawn = visualizer.draw(np.zeros((64, 96, 3), np.uint8), made)
    wanted = colorize(visualizer.tasks['depth'], np.full((64, 96), 2.0), (1.0, 3.0))
    np.testing.assert_array_equal(drawn[86 + 18 : 86 + 82, 100:196], wanted)


def test_a_picture_of_another_shape_keeps_its_proportions():
    shown = cell(np.zeros((10, 40, 3), np.uint8), (40, 40))
    assert (shown[18:] == 0).all(-1).sum() == 10 * 40


def test_rows_of_different_length_are_filled():
    part = np.zeros((5, 6, 3), np.uint8)
    drawn = grid([[part], [part, part]])
    assert drawn.shape == (18, 20, 3) and (drawn[:5, 6:] == 255).all()


def test_written_as_rgb(tmp_path, visualizer):
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    write_picture(tmp_path / 'new' / 'a.png', red)
    assert cv2.imread(str(tmp_path / 'new' / 'a.png'))[0, 0].tolist() == [0, 0, 255]
    visualizer.add_datasample('x', red, sample(pred=['sal']), out_file=str(tmp_path / 'b.png'))
    assert (tmp_path / 'b.png').exists()
