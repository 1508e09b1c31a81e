"""What may be given up, against plain loops."""

import random

import pytest
import torch
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.ranks.scores import directional_scores
from mtpeft.adapters.ranks.worth import (
    cheapest_first,
    gate_derivatives,
    sensitivity,
    within_budget,
    within_loss,
)  # fmt: skip


def worths(seed):
    draw = random.Random(seed)
    lengths = [draw.randint(1, 9) for _ in range(4)]
    streams = [sorted((draw.random() for _ in range(k)), reverse=True) for k in lengths]
    return [torch.tensor(s, dtype=torch.float64) for s in streams], [
        draw.randint(5, 50) for _ in lengths
    ]


@pytest.mark.parametrize('seed', range(8))
def test_the_cheapest_go_first_and_the_rest_is_a_prefix(seed):
    streams, costs = worths(seed)
    order = cheapest_first(streams, costs, [1] * 4)
    prices = [worth / costs[stream] for stream, worth in order]
    assert prices == sorted(prices)
    assert len(order) == sum(len(s) - 1 for s in streams)
    left = [len(s) for s in streams]
    for stream, worth in order:
        left[stream] -= 1
        assert worth == streams[stream][left[stream]]


def test_ties_leave_a_prefix():
    order = cheapest_first([torch.ones(4).double()], [3], [1])
    assert [stream for stream, _ in order] == [0, 0, 0]


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('spent, eps', [(0.0, 0.1), (0.05, 0.1), (0.1, 0.1), (0.0, 0.0)])
def test_the_loss_stays_within_the_ledger(seed, spent, eps):
    streams, costs = worths(seed)
    kept, share = within_loss(streams, costs, spent, eps, min_rank=1, max_drop=1.0)
    total = sum(float(s.sum()) for s in streams)
    dropped = sum(float(s[k:].sum()) for s, k in zip(streams, kept, strict=True))
    assert share == pytest.approx(dropped / total)
    assert spent + share <= eps or share == 0
    # the next component in line would be too much
    order = cheapest_first(streams, costs, [1] * 4)
    number = sum(len(s) - k for s, k in zip(streams, kept, strict=True))
    if number < len(order):
        assert spent + (dropped + order[number][1]) / total > eps


def test_at_once_only_a_part_goes():
    kept, _ = within_loss([torch.full((10,), 1e-9).double()], [1], 0.0, 0.9, 1, max_drop=0.3)
    assert kept == [7]
    kept, _ = within_loss([torch.full((10,), 1e-9).double()], [1], 0.0, 0.99, 4, max_drop=1.0)
    assert kept == [4]


@pytest.mark.parametrize('seed', range(8))
def test_the_budget_is_met_to_one_component(seed):
    streams, costs = worths(seed)
    whole = sum(len(s) * c for s, c in zip(streams, costs, strict=True))
    for budget in (whole, whole * 0.8, sum(costs), 0):
        kept = within_budget(streams, costs, budget, min_rank=1)
        size = sum(k * c for k, c in zip(kept, costs, strict=True))
        assert size <= max(budget, sum(costs))
        assert size > budget - max(costs) or kept == [len(s) for s in streams] or budget == 0
        assert min(kept) >= 1


def test_both_factors_give_the_same_derivative():
    torch.manual_seed(0)
    layer = adapt_layer(nn.Linear(7, 5), dict(type='DoRA', rank=4)).double()
    nn.init.normal_(layer.adapter.B)
    layer(torch.randn(6, 7).double()).pow(3).mean().backward()
    group = layer.adapter.groups['shared']
    gates = gate_derivatives(group)
    torch.testing.assert_close(gates.abs(), directional_scores(group))
    torch.testing.assert_close(gates[0], (layer.adapter.B * layer.adapter.B.grad).sum(0).detach())


def test_sensitivity_is_free_of_how_often_a_component_was_used():
    energy = torch.tensor([4.0, 1.0, 1.0, 0.0])
    steps = torch.tensor([100.0, 50.0, 10.0, 0.0])
    # 2 for each unit of energy in every step in which a component is in use
    squares = 2 * energy * steps
    torch.testing.assert_close(sensitivity(squares, steps, energy), torch.full((4,), 2.0))
    less = sensitivity(squares / 2, steps, energy)
    torch.testing.assert_close(less, torch.full((4,), 1.0))
