"""Depth as published protocols judge it: cap, minimum, crop, scale, against NumPy."""

import numpy as np
import pytest
import torch

from mtpeft.evaluation import MultiTaskEvaluator
from mtpeft.evaluation.functional.depth import (
    DepthProtocol,
    depth_compute,
    depth_update,
    judged,
)
from mtpeft.evaluation.functional.pooling import pool
from mtpeft.evaluation.metrics import DepthMetric
from mtpeft.structures import MultiTaskDataSample


def case(size=(48, 64), seed=0):
    rng = np.random.default_rng(seed)
    label = rng.uniform(0.2, 15, size)
    label[rng.random(size) < 0.2] = 0
    return rng.uniform(-1, 16, size), label


def released(pred, label, low, high, rows, columns, scaling=False):
    """As the code of BTS, AdaBins and Monodepth2 does it."""
    valid = (label > max(low, 0)) & (label < high)
    inside = np.zeros(label.shape, bool)
    inside[rows, columns] = True
    valid &= inside
    pred, label = pred[valid], label[valid]
    if scaling:
        pred = pred * np.median(label) / np.median(pred)
    pred = np.clip(pred, low, high)
    ratio = np.maximum(label / pred, pred / label)
    return dict(
        rmse=np.sqrt(((pred - label) ** 2).mean()),
        abs_rel=(np.abs(pred - label) / label).mean(),
        log10=np.abs(np.log10(pred) - np.log10(label)).mean(),
        **{f'delta{i}': 100 * (ratio < 1.25**i).mean() for i in (1, 2, 3)},
    )


EVERYWHERE = slice(None), slice(None)


@pytest.mark.parametrize('scaling', [False, True])
@pytest.mark.parametrize(('low', 'high'), [(1e-3, 10.0), (0.5, 12.0)])
def test_cap_minimum_and_scale(low, high, scaling):
    pred, label = case()
    pred = np.abs(pred) if scaling else pred
    protocol = DepthProtocol(low, high, None, scaling)
    tensors = torch.from_numpy(pred)[None], torch.from_numpy(label)[None]
    statistics = depth_update(*tensors, tensors[1][0] > 0, protocol)
    expected = released(pred, label, low, high, *EVERYWHERE, scaling)
    assert depth_compute(pool([statistics])) == pytest.approx(expected)


@pytest.mark.parametrize(('crop', 'size', 'rows', 'columns'), [
    ('eigen', (480, 640), slice(45, 471), slice(41, 601)),
    ('eigen', (425, 560), *EVERYWHERE),
    ('eigen', (240, 320), slice(22, 235), slice(20, 300)),
    ('garg', (375, 1242), slice(153, 371), slice(44, 1197)),
    ('kitti_eigen', (352, 1216), slice(117, 321), slice(43, 1172)),
    ((0, 0.5, 0.25, 1), (10, 20), slice(0, 5), slice(5, 20)),
])  # fmt: skip
def test_crops_are_those_of_the_released_code(crop, size, rows, columns):
    valid = torch.ones(size, dtype=torch.bool)
    expected = torch.zeros(size, dtype=torch.bool)
    expected[rows, columns] = True
    found = judged(torch.ones(1, *size), valid, DepthProtocol(crop=crop))
    assert torch.equal(found, expected)


def sample_of(pred, label):
    sample = MultiTaskDataSample(metainfo=dict(img_path='a.png'))
    sample.set_pred('depth', torch.tensor(pred).float()[None])
    sample.set_gt('depth', torch.tensor(label).float()[None])
    return sample


def test_options_of_a_config_reach_the_figures():
    pred, label = case((480, 640))
    metric = dict(type='DepthMetric', max_depth=10.0, min_depth=1e-3, crop='eigen')
    evaluator = MultiTaskEvaluator(metrics=[], tasks=dict(depth=dict(metric=metric)))
    evaluator.process([sample_of(pred, label), sample_of(pred, 0 * label)])
    figures = evaluator.evaluate(2)
    expected = released(pred, label, 1e-3, 10, slice(45, 471), slice(41, 601))
    assert figures == pytest.approx({f'depth/{k}': v for k, v in expected.items()}, rel=1e-5)


def test_a_picture_with_nothing_that_counts_has_no_part():
    metric = DepthMetric(task='depth', max_depth=2.0)
    metric.process(None, [sample_of([[1.0, 9.0]], [[1.0, 5.0]]), sample_of([[3.0]], [[7.0]])])
    assert metric.evaluate(2)['depth/rmse'] == 0
    metric.process(None, [sample_of([[3.0]], [[7.0]])])
    assert metric.evaluate(1) == {}


def test_a_prediction_that_cannot_be_scaled_is_named():
    metric = DepthMetric(task='depth', median_scaling=True)
    with pytest.raises(ValueError, match="'a.png'.*positive median, got -1"):
        metric.process(None, [sample_of([[-1.0]], [[7.0]])])


@pytest.mark.parametrize(('options', 'words'), [
    (dict(max_depth=1.0, min_depth=2.0), 'min_depth < max_depth'),
    (dict(min_depth=-1.0), 'min_depth < max_depth'),
    (dict(crop='eigne'), "'eigne' is unknown.*'eigen'"),
    (dict(crop=(0, 1, 0, 2)), 'shares between 0 and 1'),
    (dict(crop=[0.5, 0.5, 0, 1]), 'shares between 0 and 1'),
])  # fmt: skip
def test_options_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        DepthMetric(task='depth', **options)
