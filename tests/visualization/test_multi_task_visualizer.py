"""Drawings of samples: what stands where, and that truth and prediction share their colours."""

import cv2
import numpy as np
import pytest
import torch

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks
from mtpeft.visualization import MultiTaskVisualizer, colorize
from mtpeft.visualization.comparison import TRUTH, draw_comparison
from mtpeft.visualization.marks import Fill, Picture, Text
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


def texts(sheet):
    return [mark.text for mark in sheet.marks if isinstance(mark, Text)]


def maps_of(sheet):
    """Pictures of maps and input, which are as large as the photograph."""
    return [m for m in sheet.marks if isinstance(m, Picture) and m.box[2:] == (96, 64)]


@pytest.mark.parametrize(
    'truth, pred, rows, columns',
    [
        (['sal'], ['sal'], 2, 1),
        ([], ['sal', 'depth'], 1, 2),
        (['depth'], [], 1, 1),
        (['sal', 'depth', 'normals'], ['sal', 'depth', 'normals'], 2, 3),
        ([], [], 0, 0),
    ],
)
@pytest.mark.parametrize('draw_input', [True, False])
def test_rows_and_columns(visualizer, truth, pred, rows, columns, draw_input):
    visualizer.draw_input = draw_input
    sheet = visualizer.sheet([np.zeros((64, 96, 3), np.uint8)], [sample(truth, pred)])
    drawn = maps_of(sheet)
    assert len(drawn) == rows * columns + draw_input
    boxes = [mark.box for mark in drawn[draw_input:]]
    assert len({box[0] for box in boxes}) == columns and len({box[1] for box in boxes}) == rows
    said = texts(sheet)
    assert ('input' in said) == draw_input
    assert (TRUTH in said) == bool(truth) and ('prediction' in said) == bool(pred)
    drawn = sheet.array()
    assert drawn.dtype == np.uint8 and all(  # nothing reaches over the rim
        box[0] >= 0 and box[0] + box[2] <= sheet.width for m in sheet.marks
        if not isinstance(m, Text) for box in [m.box]
    )  # fmt: skip


def test_a_cell_without_a_label_says_so(visualizer):
    sheet = visualizer.sheet(
        [np.zeros((64, 96, 3), np.uint8)], [sample(['depth'], ['sal', 'depth'])]
    )
    assert texts(sheet).count('no label') == 1
    assert (96, 64) in [m.box[2:] for m in sheet.marks if isinstance(m, Fill)]


def test_without_the_photograph_nothing_of_it_is_drawn():
    visualizer = MultiTaskVisualizer(tasks=['human_parts', 'depth'], height=64)
    made = MultiTaskDataSample()
    label = torch.zeros(1, 64, 96, dtype=torch.long)
    label[:, :20] = 2
    made.set_gt('human_parts', label)
    made.set_pred('human_parts', label)
    photos = [np.full((64, 96, 3), level, np.uint8) for level in (0, 200)]
    dark, light = (visualizer.draw(photo, made) for photo in photos)
    assert (dark != light).any()  # the input, and class maps over it
    visualizer.draw_input = False
    dark, light = (visualizer.draw(photo, made) for photo in photos)
    np.testing.assert_array_equal(dark, light)


def test_truth_and_prediction_of_depth_share_their_colours(visualizer):
    made = MultiTaskDataSample()
    made.set_gt('depth', torch.linspace(1, 3, 64 * 96).view(1, 64, 96))
    made.set_pred('depth', torch.full((1, 64, 96), 2.0))
    sheet = visualizer.sheet([np.zeros((64, 96, 3), np.uint8)], [made])
    wanted = colorize(visualizer.tasks['depth'], np.full((64, 96), 2.0), (1.0, 3.0))
    np.testing.assert_array_equal(maps_of(sheet)[2].rgb, wanted)


def test_several_methods_stand_below_each_other_in_the_same_colours():
    tasks = build_tasks(['depth'])
    flat = {name: dict(depth=np.full((64, 96), value)) for name, value in
            ((TRUTH, 2.0), ('LoRA', 5.0), ('FAAR', 2.0))}  # fmt: skip
    flat[TRUTH]['depth'][0, 0] = 6.0
    sheet = draw_comparison(tasks, np.zeros((64, 96, 3), np.uint8), flat, height=64)
    _, truth, lora, faar = maps_of(sheet)
    assert [m.text for m in sheet.marks if isinstance(m, Text) and m.turned] == list(flat)
    np.testing.assert_array_equal(truth.rgb[1:], faar.rgb[1:])
    assert (truth.rgb[1:] != lora.rgb[1:]).any()
    without = draw_comparison(tasks, np.zeros((64, 96, 3), np.uint8),
                              dict(a=flat['LoRA'], b=flat['FAAR']), height=64)  # fmt: skip
    _, high, low = maps_of(without)  # ends of both rows
    ends = colorize(tasks['depth'], np.array([[2.0, 5.0]]))[0]
    assert (low.rgb == ends[0]).all() and (high.rgb == ends[1]).all()


def test_the_legend_names_what_occurs_and_the_ends_of_the_values():
    visualizer = MultiTaskVisualizer(tasks=dict(human_parts={}, depth={}), height=160)
    made = MultiTaskDataSample()
    label, other = torch.zeros(2, 1, 160, 160, dtype=torch.long)
    label[:, :9], label[:, 30:40] = 1, 6
    other[:, :5] = 2
    made.set_gt('human_parts', label)
    made.set_pred('human_parts', other)
    made.set_gt('depth', torch.linspace(1.5, 4, 160 * 160).view(1, 160, 160))
    said = texts(visualizer.sheet([np.zeros((160, 160, 3), np.uint8)], [made]))
    assert {'head', 'torso', 'lower legs', '1.5', '4.0', 'depth (m)'} <= set(said)
    assert not {'background', 'upper legs', 'upper arms'} & set(said)


def test_the_legend_names_pixels_without_a_label():
    visualizer = MultiTaskVisualizer(tasks=['human_parts'], height=160)
    made = MultiTaskDataSample()
    label = torch.full((1, 160, 160), 2)
    made.set_gt('human_parts', label)
    made.set_pred('human_parts', label.clone())
    image = np.zeros((160, 160, 3), np.uint8)
    assert 'no label' not in texts(visualizer.sheet([image], [made]))
    label[:, :9] = 255
    assert 'no label' in texts(visualizer.sheet([image], [made]))


def test_columns_are_named_once(visualizer):
    image = np.zeros((64, 96, 3), np.uint8)
    both = visualizer.sheet([image, image], [sample(['sal'], ['sal'])] * 2)
    assert texts(both).count('input') == 1
    other = visualizer.sheet([image, image], [sample(['sal'], ['sal']), sample(['depth'])])
    assert texts(other).count('input') == 2


def test_written_as_its_name_says(tmp_path, visualizer):
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    write_picture(tmp_path / 'new' / 'a.png', red)
    assert cv2.imread(str(tmp_path / 'new' / 'a.png'))[0, 0].tolist() == [0, 0, 255]
    visualizer.add_datasample('x', red, sample(pred=['sal']), out_file=str(tmp_path / 'b.svg'))
    assert (tmp_path / 'b.svg').read_text().startswith('<?xml')
