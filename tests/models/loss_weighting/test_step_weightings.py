"""Weightings by numbers of their own: speeds, draws, the geometric mean."""

import copy
import math

import numpy as np
import pytest
import torch

from mtpeft.models import DynamicWeightAverage, GeometricLoss, RandomLossWeighting
from mtpeft.registry import MODELS

TASKS = ['semseg', 'normals', 'depth']
EVEN = dict.fromkeys(TASKS, 1)


def losses_of(values):
    return {name: torch.tensor(float(v)) for name, v in zip(TASKS, values, strict=True)}


def factors(weighting, values):
    weighted = weighting(losses_of(values))
    return [weighted[name].item() / v if v else 0 for name, v in zip(TASKS, values, strict=True)]


def softmax(x):
    x = np.exp(np.asarray(x))
    return x / x.sum()


def test_dynamic_weight_average_by_its_formula():
    """Written out from the paper: T softmax(r / tau) of the mean losses of two periods."""
    generator = np.random.default_rng(0)
    weighting = DynamicWeightAverage(TASKS, temperature=1.5, period=4, weights=EVEN)
    seen = generator.uniform(0.5, 2, (20, 3))
    for step, values in enumerate(seen):
        found, period = factors(weighting, values), step // 4
        wanted = np.ones(3)
        if period >= 2:
            means = seen[: 4 * period].reshape(period, 4, 3).mean(1)
            wanted = 3 * softmax(means[-1] / means[-2] / 1.5)
        assert found == pytest.approx(wanted, rel=1e-5), step


def test_dynamic_weight_average_goes_on_where_it_was():
    whole = DynamicWeightAverage(TASKS, period=2)
    values = np.random.default_rng(1).uniform(0.5, 2, (9, 3))
    for row in values[:5]:
        factors(whole, row)
    resumed = DynamicWeightAverage(TASKS, period=2)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    for row in values[5:]:
        assert factors(whole, row) == factors(resumed, row)


def test_a_task_that_nobody_labelled_stands_still():
    weighting = DynamicWeightAverage(TASKS, temperature=1.0, period=1, weights=EVEN)
    for values in ((1, 1, 0), (1, 1, 0), (1, 0.5, 0), (1, 1, 0)):
        found = factors(weighting, values)
    assert found[:2] == pytest.approx(3 * softmax([1, 0.5, 1])[:2], rel=1e-5)


def test_random_weights_are_those_of_their_step():
    one, other = RandomLossWeighting(TASKS, weights=EVEN), RandomLossWeighting(TASKS, weights=EVEN)
    first = [factors(one, (1, 1, 1)) for _ in range(6)]
    for _ in range(3):
        torch.manual_seed(7)  # whatever else is drawn
        factors(other, (1, 1, 1))
    other.load_state_dict(other.state_dict())
    assert [factors(other, (1, 1, 1)) for _ in range(3)] == first[3:]
    assert len({tuple(row) for row in first}) == 6
    assert all(sum(row) == pytest.approx(3, rel=1e-5) for row in first)
    assert RandomLossWeighting(TASKS, seed=1, weights=EVEN)(losses_of((1, 1, 1))) != first[0]


def test_draws_are_of_a_normal_distribution():
    weighting = RandomLossWeighting(TASKS, weights=EVEN)
    rows = np.log([factors(weighting, (1, 1, 1)) for _ in range(2000)])
    # log softmax differences are differences of two normal numbers
    spread = np.std(rows[:, 0] - rows[:, 1])
    assert spread == pytest.approx(math.sqrt(2), rel=0.08)


def test_geometric_mean_and_its_gradient():
    values = [torch.tensor(v, requires_grad=True) for v in (0.5, 2.0, 8.0)]
    total = sum(GeometricLoss(TASKS, weights=EVEN)(dict(zip(TASKS, values, strict=True))).values())
    found = torch.autograd.grad(total, values)
    mean = torch.stack(values).log().mean().exp()
    assert total.item() == pytest.approx(mean.item(), rel=1e-6)
    for one, other in zip(found, torch.autograd.grad(mean, values), strict=True):
        torch.testing.assert_close(one, other)


def test_geometric_mean_leaves_out_what_nobody_labelled():
    weighted = GeometricLoss(TASKS, weights=EVEN)(losses_of((4, 9, 0)))
    assert sum(weighted.values()).item() == pytest.approx(6, rel=1e-6)
    with pytest.raises(FloatingPointError, match='at least 0'):
        GeometricLoss(TASKS)(losses_of((-1, 1, 1)))


@pytest.mark.parametrize('name', ['DWA', 'DynamicWeightAverage', 'RLW', 'RandomLossWeighting'])
def test_known_by_both_names(name):
    assert len(MODELS.build(dict(type=name, tasks=TASKS))(losses_of((1, 1, 1)))) == 3


def test_only_training_counts():
    weighting = DynamicWeightAverage(TASKS, period=1).eval()
    before = copy.deepcopy(weighting.state_dict())
    factors(weighting, (1, 2, 3))
    assert all(torch.equal(before[k], v) for k, v in weighting.state_dict().items())


@pytest.mark.parametrize('options', [dict(temperature=0), dict(period=0)])
def test_bad_options(options):
    with pytest.raises(ValueError, match='positive'):
        DynamicWeightAverage(TASKS, **options)
