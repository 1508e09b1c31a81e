"""AdaLoRA's formula, penalty, importance and budget against plain references."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import TASKS, stir
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.adalora import orthogonality
from mtpeft.adapters.ranks.importance import (
    cubic_budget,
    importance,
    most_important,
    sensitivities,
)


def make(layer=None, tasks=(), kind='AdaLoRA', **options):
    torch.manual_seed(0)
    cfg = dict(type=kind, rank=3, task_rank=2, scale=1.5, **options)
    adapted = adapt_layer(layer or nn.Linear(6, 5), cfg, tasks)
    stir(adapted)
    return adapted


def test_the_shared_pass_is_the_formula():
    layer, x = make(), torch.randn(4, 6)
    p, values, q = (layer.adapter.get_parameter(n) for n in ('P', 'Lambda', 'Q'))
    expected = layer.frozen(x)
    for i in range(3):
        expected = expected + 1.5 * values[i] * (x @ q[i])[:, None] * p[:, i]
    torch.testing.assert_close(layer(x), expected)


def test_a_convolution_is_the_formula():
    layer = make(nn.Conv2d(4, 5, 3, stride=2, padding=1))
    x, adapter = torch.randn(2, 4, 7, 6), layer.adapter
    low = F.conv2d(x, adapter.Q, stride=2, padding=1) * adapter.Lambda.view(1, 3, 1, 1)
    expected = layer.frozen(x) + 1.5 * torch.einsum('or,brhw->bohw', adapter.P, low)
    torch.testing.assert_close(layer(x), expected)


def test_it_starts_at_zero_values_and_learns_from_there():
    layer = adapt_layer(nn.Linear(6, 5), dict(type='AdaLoRA', rank=3))
    assert layer.adapter.Lambda.abs().sum() == 0 and layer.adapter.P.abs().min() > 0
    layer(torch.randn(4, 6)).square().sum().backward()
    assert layer.adapter.Lambda.grad.abs().min() > 0


# -- penalty ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('layer', [nn.Linear(6, 5), nn.Conv2d(4, 5, 3)])
def test_distances_and_their_gradient(layer):
    """One triplet of the second task is pruned, and counts for nothing."""
    adapter = make(layer, TASKS).adapter
    group = adapter.groups['task']
    group.keep(1, torch.tensor([1]), {n: [p.data] for n, p in group.parameters.items()})
    distances = orthogonality(group)
    distances.square().sum().backward()
    for index, active in enumerate((2, 1, 2)):
        for row, name in enumerate(('task_Q', 'task_P')):
            whole = getattr(adapter, name)
            one = whole[index].detach().clone().requires_grad_()
            vectors = one[:active].flatten(1) if name == 'task_Q' else one[:, :active].T
            wanted = 0.0
            for i in range(active):
                for j in range(active):
                    wanted = wanted + ((vectors[i] * vectors[j]).sum() - float(i == j)) ** 2
            torch.testing.assert_close(distances[row, index] ** 2, wanted)
            wanted.backward()
            torch.testing.assert_close(whole.grad[index], one.grad)


def test_orthonormal_vectors_have_no_penalty_and_a_finite_gradient():
    adapter = make().adapter
    with torch.no_grad():
        adapter.Q.copy_(torch.linalg.qr(torch.randn(6, 3))[0].T)
        adapter.P.copy_(torch.eye(5)[:, :3])
    distances = orthogonality(adapter.groups['shared'])
    assert distances.max() < 1e-5
    distances.mean().backward()
    assert adapter.Q.grad.isfinite().all() and adapter.P.grad.isfinite().all()


# -- importance and budget -------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['AdaLoRA', 'LoRA'])
def test_importance_by_loops(kind):
    layer = make(tasks=TASKS, kind=kind)
    group = layer.adapter.groups['task']
    generator = torch.Generator().manual_seed(1)
    for p in group.parameters.values():
        p.grad = torch.randn(p.shape, generator=generator)
    entries = sensitivities(group)
    found = importance(group, entries)
    assert found.shape == (3, 2)
    for t in range(3):
        for i in range(2):
            wanted = 0.0
            for name, p in group.parameters.items():
                w, g = p[t].detach(), p.grad[t]
                # a component is a row of A and Q, a column of B and P, a number of Lambda
                pick = (slice(None), i) if name.endswith(('B', 'P')) else (i,)
                one = (w[pick] * g[pick]).abs().flatten().tolist()
                wanted += sum(one) / len(one)
            assert found[t, i].item() == pytest.approx(wanted, rel=1e-5)


def test_no_gradient_no_sensitivity():
    assert sensitivities(make().adapter.groups['shared']) is None


def test_the_budget_is_the_cubic_one_and_falls():
    start, target, first, last = 320, 64, 100, 700
    found = [cubic_budget(t, start, target, first, last) for t in range(801)]
    for t, budget in enumerate(found):
        share = min(max((t - first) / (last - first), 0), 1)
        assert budget == math.floor(target + (start - target) * (1 - share) ** 3 + 1e-9)
    assert found == sorted(found, reverse=True)
    assert found[0] == found[100] == start and found[700] == found[800] == target


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('min_rank', [1, 2])
def test_what_a_budget_keeps(seed, min_rank):
    """By repeatedly taking away the least important component that may go."""
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.rand(s, r, generator=generator) for s, r in ((1, 4), (3, 3))]
    active = [[4], [3, 1, 2]]
    usable = [torch.arange(s.shape[1]) < torch.tensor(a)[:, None]
              for s, a in zip(scores, active, strict=True)]  # fmt: skip
    streams = [scores[0][0, :4].tolist()] + [scores[1][i, :k].tolist()
                                             for i, k in enumerate(active[1])]  # fmt: skip
    for budget in range(10, sum(min(min_rank, len(s)) for s in streams) - 1, -1):
        kept = [set(range(len(s))) for s in streams]
        while sum(map(len, kept)) > budget:
            _, stream, i = min(
                (streams[n][i], n, i)
                for n, chosen in enumerate(kept) for i in chosen if len(chosen) > min_rank
            )  # fmt: skip
            kept[stream].remove(i)
        masks = most_important(scores, usable, budget, min_rank)
        rows = [*masks[0], *masks[1]]
        assert [set(row.nonzero().flatten().tolist()) for row in rows] == kept


def test_a_case_by_hand():
    """Best of each stream: 5 and 2 (kept in any case); then 4 and 3 of the first."""
    scores = [torch.tensor([[5.0, 4.0, 3.0]]), torch.tensor([[1.0, 2.0, 0.5]])]
    usable = [torch.ones(1, 3, dtype=torch.bool)] * 2
    masks = most_important(scores, usable, budget=4, min_rank=1)
    assert [m.tolist() for m in masks] == [[[True] * 3], [[False, True, False]]]
