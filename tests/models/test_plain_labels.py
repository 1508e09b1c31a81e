"""Losses of labels that are tensors by task."""

import pytest
import torch
from models.tiny_models import TASKS, random_samples, tiny_model

from mtpeft.tasks import build_tasks

SIZE = (16, 24)
X = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def stacked(samples, names=TASKS):
    return {name: torch.stack([s.get_gt(name) for s in samples]) for name in names}


def test_they_are_the_losses_of_data_samples():
    samples = random_samples([SIZE, SIZE])
    expected = tiny_model().loss(X, samples)
    labels = stacked(samples)
    flat = {name: label[:, 0] if label.shape[1] == 1 else label for name, label in labels.items()}
    for given in (labels, flat):
        found = tiny_model().loss(X, given)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)
    again = tiny_model()(X, flat, mode='loss')
    assert torch.equal(again['loss_depth'], expected['loss_depth'])


def test_a_task_that_is_left_out_has_no_labels():
    samples = random_samples([SIZE, SIZE], labelled=[['depth'], ['depth']])
    expected = tiny_model().loss(X, samples)
    found = tiny_model().loss(X, stacked(samples, ['depth']))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found['raw_sal'] == 0 and found['raw_depth'] > 0


def test_kinds_of_numbers():
    tasks = build_tasks(TASKS)
    labels = stacked(random_samples([SIZE, SIZE]))
    labels['semseg'] = labels['semseg'].byte()
    labels['sal'] = labels['sal'].float()
    tiny_model().loss(X, labels)
    assert tasks['semseg'].ignore_value == 255


@pytest.mark.parametrize(('labels', 'error', 'message'), [
    (dict(dept=torch.zeros(2, 4, 4)), KeyError, "no task 'dept'.*'depth'"),
    (dict(depth=torch.zeros(3, 4, 4)), ValueError, r"'depth': expected \(B, 1, H, W\).*B=2"),
    (dict(normals=torch.zeros(2, 4, 4)), ValueError, r"'normals': expected \(B, 3, H, W\) with"),
    (dict(depth=[[1.0]]), ValueError, 'expected a tensor, got list'),
    (dict(semseg=torch.zeros(2, 4, 4)), ValueError, 'class indices .whole numbers., got'),
    (dict(depth=torch.zeros(2, 0, 4)), ValueError, 'at least one pixel'),
])  # fmt: skip
def test_what_does_not_fit_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        tiny_model().loss(X, labels)
