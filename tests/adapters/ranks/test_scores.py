"""Scores are derivatives; coverage keeps what the published rule keeps."""

import pytest
import torch
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.ranks.scores import coverage_rank, directional_scores, order_by_score

# where the published rule takes 64 equally useful components, epoch by epoch
TRAJECTORIES = {
    0.80: [64, 36, 21, 12, 7, 5, 3, 2],
    0.90: [64, 45, 32, 23, 17, 12, 9, 7, 6, 5, 4, 3],
    0.95: [64, 51, 40, 32, 26, 21, 17, 14, 12, 10, 9, 8, 7, 6, 5],
}
FIXED = {0.80: 2, 0.90: 3, 0.95: 5, 0.98: 9}


@pytest.mark.parametrize('kind', ['LoRA', 'DoRA'])
@pytest.mark.parametrize('layer', [nn.Linear(7, 5), nn.Conv2d(3, 5, 3)], ids=['linear', 'conv'])
def test_a_score_is_the_derivative_along_the_component(kind, layer):
    torch.manual_seed(0)
    options = {} if kind == 'LoRA' else dict(detach_norm=False)
    new = adapt_layer(layer, dict(type=kind, rank=4, **options)).double()
    adapter = new.adapter
    nn.init.normal_(adapter.B)
    x = (
        torch.randn(6, 7).double()
        if isinstance(layer, nn.Linear)
        else torch.randn(2, 3, 6, 6).double()
    )

    def loss(scale_a, scale_b):
        """With component i of A and of B scaled."""
        a, b = adapter.A.data.clone(), adapter.B.data.clone()
        shape = (-1,) + (1,) * (a.ndim - 1)
        adapter.A.data.mul_(scale_a.view(shape))
        adapter.B.data.mul_(scale_b)
        value = new(x).pow(3).mean().item()
        adapter.A.data, adapter.B.data = a, b
        return value

    new(x).pow(3).mean().backward()
    scores = directional_scores(adapter.groups['shared'])
    for i in range(4):
        step = torch.zeros(4).double()
        step[i] = 1e-5
        one = torch.ones(4).double()
        along_a = (loss(one + step, one) - loss(one - step, one)) / 2e-5
        along_b = (loss(one, one + step) - loss(one, one - step)) / 2e-5
        assert scores[0, i].item() == pytest.approx((abs(along_a) + abs(along_b)) / 2, rel=1e-5)


def test_no_score_without_a_gradient():
    layer = adapt_layer(nn.Linear(4, 4), dict(type='LoRA', rank=2))
    assert directional_scores(layer.adapter.groups['shared']) is None


def test_coverage_against_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        scores = torch.rand(int(torch.randint(1, 20, (), generator=generator)), generator=generator)
        for rho in (0.3, 0.8, 0.95, 1.0):
            total, kept = 0.0, 0
            values = sorted(scores.double().tolist(), reverse=True)
            while total < rho * sum(values) * (1 - 1e-12):
                total += values[kept]
                kept += 1
            assert coverage_rank(scores, rho) == kept


def test_order_is_stable_and_ties_do_not_matter():
    scores = torch.tensor([1.0, 3.0, 1.0, 3.0, 2.0])
    assert order_by_score(scores).tolist() == [1, 3, 4, 0, 2]
    assert coverage_rank(torch.ones(10), 0.95) == 10
    assert coverage_rank(torch.ones(10), 0.9) == 9
    assert coverage_rank(torch.full((7,), 0.1), 1.0) == 7


@pytest.mark.parametrize('rho', FIXED)
def test_equally_useful_components_follow_the_known_trajectories(rho):
    rank, ranks = 64, [64]
    while True:
        # component i is in use with probability (r - i + 1) / r
        expected = torch.arange(rank, 0, -1).double() / rank
        rank = coverage_rank(expected, rho)
        if rank == ranks[-1]:
            break
        ranks.append(rank)
    assert ranks[-1] == FIXED[rho]
    if rho in TRAJECTORIES:
        assert ranks == TRAJECTORIES[rho]
