"""Depth errors against torchmetrics and a plain loop."""

import math

import pytest
import torch
from torchmetrics.regression import MeanAbsolutePercentageError, MeanSquaredError

from mtpeft.evaluation.functional import depth_compute, depth_update, pool


def test_figures_agree_with_torchmetrics_and_a_loop():
    g = torch.Generator().manual_seed(0)
    rmse, rel = MeanSquaredError(squared=False), MeanAbsolutePercentageError()
    statistics, close = [], []
    for size in ((6, 5), (1, 1), (3, 9)):
        label = 0.5 + 9 * torch.rand(1, *size, generator=g)
        pred = label * (0.6 + 0.9 * torch.rand(1, *size, generator=g))
        valid = torch.rand(size, generator=g) < 0.8
        valid[0, 0] = True
        statistics.append(depth_update(pred, label, valid))
        p, y = pred[:, valid].flatten(), label[:, valid].flatten()
        rmse.update(p, y)
        rel.update(p, y)
        close += [max(a / b, b / a) < 1.25 for a, b in zip(p.tolist(), y.tolist(), strict=True)]
    figures = depth_compute(pool(statistics))
    assert figures['rmse'] == pytest.approx(float(rmse.compute()), rel=1e-5)
    assert figures['abs_rel'] == pytest.approx(float(rel.compute()), rel=1e-5)
    assert figures['delta1'] == pytest.approx(100 * sum(close) / len(close))
    assert 0 < figures['delta1'] < 100


def test_pixels_are_pooled_and_not_pictures():
    def one(error, n):
        label = torch.full((1, 1, n), 2.0)
        return depth_update(label + error, label, torch.ones(1, n).bool())

    assert depth_compute(pool([one(0, 3), one(2, 1)]))['rmse'] == pytest.approx(math.sqrt(4 / 4))


@pytest.mark.parametrize('pred', [-2.0, 0.0])
def test_a_prediction_that_is_not_positive_is_never_close(pred):
    label = torch.full((1, 1, 1), 2.0)
    figures = depth_compute(pool([depth_update(pred * label / 2, label, torch.ones(1, 1).bool())]))
    assert figures['delta1'] == 0 and math.isfinite(figures['rmse'])


def test_a_negative_label_is_refused():
    label = torch.tensor([[[-1.0]]])
    with pytest.raises(ValueError, match='positive depths'):
        depth_update(label, label, torch.ones(1, 1).bool())
