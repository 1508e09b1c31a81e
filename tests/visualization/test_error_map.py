"""Errors of single pixels, by a loop over them; and what a figure of them has."""

import math

import numpy as np
import pytest
import torch

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks
from mtpeft.visualization.confusion_picture import draw_confusion
from mtpeft.visualization.error_map import error_map
from mtpeft.visualization.error_picture import Judged, draw_errors

TASKS = build_tasks([dict(type='semseg', num_classes=4), 'sal', 'depth', 'normals'])
ERRORS = {
    'semseg': lambda p, y: float(p[0] != y[0]),
    'sal': lambda p, y: abs(p[0] - y[0]),
    'depth': lambda p, y: abs(p[0] - y[0]),
    'normals': lambda p, y: math.degrees(
        math.acos(np.dot(p, y) / math.sqrt(np.dot(p, p) * np.dot(y, y)))
    ),
}


def make(name, size=(5, 7)):
    g = torch.Generator().manual_seed(len(name))
    task = TASKS[name]
    if task.kind == 'classes':
        truth, pred = (torch.randint(4, (1, *size), generator=g) for _ in range(2))
    elif task.kind == 'binary':
        truth = torch.randint(2, (1, *size), generator=g)
        pred = torch.rand(1, *size, generator=g)
    else:
        truth, pred = (torch.rand(task.channels, *size, generator=g) + 0.1 for _ in range(2))
    truth[:, 0, :3] = int(task.ignore_value)
    return task, truth, pred


@pytest.mark.parametrize('name', TASKS)
def test_the_error_of_each_pixel(name):
    task, truth, pred = make(name)
    found = error_map(task, truth, pred)
    assert found.values.shape == truth.shape[1:]
    for (y, x), value in np.ndenumerate(found.values):
        if y == 0 and x < 3:
            assert math.isnan(value)
        else:
            both = (t[:, y, x].double().numpy() for t in (pred, truth))
            assert value == pytest.approx(ERRORS[name](*both), abs=1e-4)
    assert task.unit in found.what or task.kind != 'values'


@pytest.mark.parametrize('draw_input', [True, False])
@pytest.mark.parametrize('name', TASKS)
def test_a_figure_has_a_row_a_picture_and_one_scale(name, draw_input):
    judged = []
    for seed in range(2):
        task, truth, pred = make(name)
        sample = MultiTaskDataSample()
        sample.set_gt(name, truth)
        sample.set_pred(name, pred if seed else truth.clone())
        judged.append(Judged(np.zeros((5, 7, 3), np.uint8), sample, f'picture {seed}'))
    figure = draw_errors(task, judged, 'title', draw_input)
    panels = [axes for axes in figure.axes if axes.images]
    columns = 3 + draw_input
    errors = [panels[columns * row + columns - 1].images[0] for row in range(2)]
    assert len({image.get_clim() for image in errors}) == 1
    # nothing is wrong in the first, and invalid pixels have no error
    first = np.ma.filled(errors[0].get_array(), np.nan)
    assert np.isnan(first[0, :3]).all() and np.nanmax(first) == pytest.approx(0, abs=1e-4)
    assert errors[1].get_array().max() > 0
    labels = [axes.get_xlabel() for axes in panels]
    assert labels[0] == 'picture 0' and labels[columns] == 'picture 1'


def test_a_confusion_shows_shares_of_what_occurs():
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [5, 0, 0, 5]])
    axes = draw_confusion(confusion, ['a', 'b', 'c', 'd']).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ['a', 'b', 'd']
    shown = np.ma.filled(axes.images[0].get_array().astype(float), np.nan)
    expected = [[75, 25, 0], [np.nan] * 3, [50, 0, 50]]
    assert np.allclose(shown, expected, equal_nan=True)
    assert sorted(t.get_text() for t in axes.texts) == ['0', '0', '25', '50', '50', '75']
