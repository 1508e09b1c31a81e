"""Drawings of a sample."""

import cv2
import numpy as np
import pytest
import torch

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks
from mtpeft.visualization import MultiTaskVisualizer, colorize
from mtpeft.visualization.grid import cell, grid
from mtpeft.visualization.legend import legend
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


def test_squares_of_one_colour_stay_squares():
    board = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((1, 1)))[..., None].repeat(3, -1) * 255
    shown = cell(board.astype(np.uint8), (12, 12))[18:]
    np.testing.assert_array_equal(shown, board.repeat(3, 0).repeat(3, 1))
    between = cell(board.astype(np.uint8), (6, 6))[18:]  # 1.5 pixels each
    assert {0, 255} < set(between[..., 0].ravel().tolist())


def test_the_legend_names_what_is_seen_and_the_ends_of_the_values():
    visualizer = MultiTaskVisualizer(tasks=dict(human_parts={}, depth={}), height=160)
    made = MultiTaskDataSample()
    label = torch.zeros(1, 160, 160, dtype=torch.long)
    label[:, :9], label[:, 30:40] = 1, 6
    made.set_gt('human_parts', label)
    made.set_gt('depth', torch.rand(1, 160, 160) + 1)
    image = np.zeros((160, 160, 3), np.uint8)
    one_row = visualizer.draw(image, made)
    assert one_row.shape == (160 + 18 + 4, 4 * 164, 3)  # at the end of the row
    made.set_pred('depth', torch.ones(1, 160, 160))
    drawn = visualizer.draw(image, made)
    assert drawn.shape == (2 * 182, 3 * 164, 3)  # below the input
    below = drawn[182:, :160]
    np.testing.assert_array_equal(below[:178], one_row[:178, 3 * 164 :][:, :160])
    colours = {tuple(c) for c in below.reshape(-1, 3).tolist()}
    palette = visualizer.tasks['human_parts'].palette
    assert {palette[1], palette[6]} <= colours
    assert not {palette[2], palette[3]} & colours
    ends = colorize(visualizer.tasks['depth'], np.array([[1.0, 2.0]]), (1.0, 2.0))[0]
    assert {tuple(c) for c in ends.tolist()} <= colours


def test_a_legend_with_little_room_names_the_largest():
    task = build_tasks(dict(semseg=dict(num_classes=40)))
    label = np.repeat(np.arange(40), np.arange(40, 0, -1))[None]
    drawn = legend(task, dict(semseg=label), {}, (130, 130))
    shown = {tuple(c) for c in drawn.reshape(-1, 3).tolist()}
    named = [i for i, colour in enumerate(task['semseg'].palette) if colour in shown]
    assert named == list(range(len(named))) and 5 < len(named) < 12
    assert legend(task, dict(semseg=label), {}, (100, 200)) is None
    assert legend(task, {}, {}, (200, 200)) is None


def test_predicted_edges_are_thinned_and_labels_are_not():
    visualizer = MultiTaskVisualizer(tasks=['edge'], height=64)
    across = torch.exp(-(((torch.arange(64) - 31) / 4.0) ** 2)).expand(64, 64)  # a thick line
    made = MultiTaskDataSample()
    made.set_gt('edge', (across > 0.5).long()[None])
    made.set_pred('edge', across[None])
    drawn = visualizer.draw(np.zeros((64, 64, 3), np.uint8), made)[..., 0]
    truth, prediction = drawn[18:82, 68:132], drawn[86 + 18 : 86 + 82, 68:132]
    assert ((truth < 128).sum(1) == 7).all()
    assert (np.nonzero(prediction[32] < 250)[0] == [31]).all() and prediction[32, 31] == 0


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
