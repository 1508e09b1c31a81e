"""Dropout that is drawn again: its distribution, and the gradient of the mask that was drawn."""

import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mtpeft.adapters import adapt_layer
from mtpeft.ops.dropout import Dropout, Drops, dropout
from mtpeft.ops.dropped_low_rank_add import dropped_low_rank_add

CPU = torch.device('cpu')
SHARES = (0.003, 0.05, 0.5, 0.97)


def dropped(count, p, seed=0, runs=1):
    """1 where an element is dropped, drawn in so many runs."""
    drops, found = Drops(p, seed, CPU), torch.zeros(runs, count // runs)
    for run in found:
        drops.drop_(run.fill_(1), drops.next(len(run)))
    return 1 - found.flatten()


@pytest.mark.parametrize('runs', [1, 8])
@pytest.mark.parametrize('p', SHARES)
def test_each_element_is_dropped_at_the_rate_by_itself(p, runs):
    count = 1 << 20
    mask = dropped(count, p, seed=3, runs=runs).double()
    deviation = math.sqrt(p * (1 - p) / count)
    assert abs(mask.mean() - p) < 5 * deviation
    # every place of a short period as often, also just after a run has begun
    places = mask.view(-1, 16).mean(0)
    assert (places - p).abs().max() < 5 * 4 * deviation
    # neighbours, and elements further apart, have nothing to do with one another
    centred = (mask - p) / math.sqrt(p * (1 - p))
    for lag in (1, 2, 3, 7, 64, 384, count // 8):
        assert abs((centred[lag:] * centred[:-lag]).mean()) < 5 / math.sqrt(count - lag), lag


@pytest.mark.parametrize('p', SHARES)
def test_gaps_are_geometric(p):
    """Against the distribution itself, at the quantiles that it has."""
    places = torch.where(dropped(1 << 20, p) == 1)[0]
    gaps = places.diff().double()
    for gap in {1, 2, 3, math.ceil(1 / p), math.ceil(3 / p)}:
        expected = 1 - (1 - p) ** gap
        deviation = math.sqrt(expected * (1 - expected) / len(gaps))
        assert abs((gaps <= gap).double().mean() - expected) < 5 * deviation + 1e-12, gap


def test_seeds_decide():
    one, same, other = dropped(5000, 0.1, 1), dropped(5000, 0.1, 1), dropped(5000, 0.1, 2)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert Drops(0.1, 1, CPU).next(0).numel() == 0


@pytest.mark.parametrize('p', SHARES)
def test_places_do_not_depend_on_where_runs_end(p):
    whole = dropped(1 << 12, p, 3)
    assert all(torch.equal(dropped(1 << 12, p, 3, runs), whole) for runs in (2, 8, 1 << 9))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradient_is_that_of_the_mask(dtype):
    x = torch.randn(6, 5, 7).permute(2, 0, 1).to(dtype).requires_grad_()
    torch.manual_seed(5)
    out = dropout(x, 0.3)
    kept = out != 0
    torch.testing.assert_close(out, torch.where(kept, x / 0.7, 0), rtol=1e-2, atol=1e-2)
    grad = torch.randn(out.shape).to(dtype)
    out.backward(grad)
    torch.testing.assert_close(x.grad, torch.where(kept, grad / 0.7, 0), rtol=1e-2, atol=1e-2)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.3), out) and not torch.equal(dropout(x, 0.3), out)


def test_the_module_drops_in_training_alone():
    x, module = torch.ones(1000), Dropout(0.2)
    assert set(module(x).tolist()) == {0.0, 1.25}
    assert torch.equal(module.eval()(x), x)
    for p, out in ((0.0, x), (1.0, 0 * x)):
        assert torch.equal(Dropout(p)(x), out)


@pytest.mark.parametrize('numbers', [1 << 20, 40])
@pytest.mark.parametrize('shape', [(33, 8), (2, 9, 8)])
def test_the_sum_is_that_of_the_mask(shape, numbers, monkeypatch):
    """With A and B the identity, what comes out is what dropout left; in one run and in several."""
    monkeypatch.setattr('mtpeft.ops.dropped_low_rank_add._RUN', numbers)
    p, scale = 0.25, 1.5
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    frozen = torch.randn(*shape[:-1], 5, dtype=torch.float64, requires_grad=True)
    a = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    b = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(2)
    eye = torch.eye(8, dtype=torch.float64)
    mask = (dropped_low_rank_add(torch.zeros_like(x), x, eye, eye, 1.0, p) != 0).double()
    assert 0 < mask.mean() < 1
    torch.manual_seed(2)
    out = dropped_low_rank_add(frozen, x, a, b, scale, p)
    wanted = frozen + scale * (x * mask / (1 - p)) @ a.T @ b.T
    torch.testing.assert_close(out, wanted)
    grad = torch.randn_like(out)
    found = torch.autograd.grad(out, (frozen, x, a, b), grad)
    torch.testing.assert_close(found, torch.autograd.grad(wanted, (frozen, x, a, b), grad))


def test_no_rows():
    x, a, b = torch.zeros(0, 8, requires_grad=True), torch.ones(3, 8), torch.ones(5, 3)
    out = dropped_low_rank_add(torch.zeros(0, 5), x, a, b, 1.0, 0.5)
    out.sum().backward()
    assert out.shape == (0, 5) and x.grad.shape == x.shape


@pytest.mark.parametrize('method', ['LoRA', 'MTLoRA', 'DoRA', 'SineLoRA', 'TADFormer'])
def test_an_adapted_layer_expects_what_it_gives_without(method):
    """The mean of many draws is the output without dropout; a recomputed pass draws the same."""
    torch.manual_seed(0)
    options = dict(filter='none') if method == 'TADFormer' else {}
    layer = adapt_layer(nn.Linear(8, 6), dict(type=method, rank=2, dropout=0.2, **options))
    for parameter in layer.adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(4, 8)
    with torch.no_grad():
        draws = torch.stack([layer(x) for _ in range(500)])
        exact = layer.eval()(x)
    deviation = draws.std(0) / math.sqrt(len(draws))
    assert (deviation > 0).all() and ((draws.mean(0) - exact).abs() < 5 * deviation).all()
    layer.train()
    grads = []
    for again in (False, True):
        torch.manual_seed(9)
        out = checkpoint(layer, x, use_reentrant=False) if again else layer(x)
        grads.append(torch.autograd.grad(out.square().sum(), layer.adapter.A))
    torch.testing.assert_close(*grads)


def test_nothing_of_a_mask_is_kept():
    """With dropout the graph holds the r numbers of each row more, and nothing as long as a row."""
    held = []
    for p in (0.0, 0.05):
        layer = adapt_layer(nn.Linear(64, 32), dict(type='LoRA', rank=4, dropout=p))
        x, sizes = torch.randn(50, 64, requires_grad=True), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: (sizes.append(t.untyped_storage().nbytes()), t)[1], lambda t: t
        ):
            frozen = torch.randn(50, 32)
            layer.side_by_side(frozen, x, layer.adapter.A, layer.adapter.B, 1.0, drop=p)
        held.append(sum(sizes))
    assert held[1] - held[0] == 50 * 4 * 4
