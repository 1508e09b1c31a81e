"""DoRA with the choices of the code that was released with FAAR, against that formula."""

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import LAYERS, TASKS, stir
from torch import nn

from mtpeft.adapters import LaneBlock, NotMergeableError, adapt_layer
from mtpeft.ops.dropout import dropout

RELEASED = dict(
    direction='rows', magnitude_rate=0.1, detach_norm=False, residual=True, scale=4.0, dropout=0.0
)


def adapted(kind='linear', tasks=(), **options):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    cfg = {**dict(type='DoRA', rank=3), **RELEASED, **options}
    layer = adapt_layer(build(), cfg, tasks).double()
    return layer, torch.randn(shape, dtype=torch.float64)


def released_weight(w0, a, b, theta, scale=4.0, rate=0.1):
    """W' of rows at length 1, their change, and a magnitude by its logarithm."""
    w0, a = w0.flatten(1), a.flatten(1)
    norms = torch.linalg.vector_norm(w0, dim=1, keepdim=True)
    direction = F.normalize(F.normalize(w0, dim=1) + scale * b @ a, dim=1)
    # the released code trains log m from log |W0|, which theta is counted from here
    log_m = norms.log() + theta[:, None]
    return norms * torch.exp(rate * (log_m - norms.log())) * direction


@pytest.mark.parametrize('kind', ['linear', 'conv 3x3 stride 2'])
def test_weights_and_gradients_are_those_of_the_formula(kind):
    layer, x = adapted(kind)
    stir(layer)
    adapter = layer.adapter
    factors = [adapter.A, adapter.B, adapter.log_magnitude]
    a, b, theta = (p.detach().clone().requires_grad_() for p in factors)
    weight = released_weight(layer.weight.detach(), a, b, theta).view_as(layer.weight)
    torch.testing.assert_close(adapter.weight(layer), weight)
    expected = layer.convolve(x, weight, layer.bias)
    out = layer(x)
    torch.testing.assert_close(out, expected)
    out.pow(3).mean().backward()
    expected.pow(3).mean().backward()
    for ours, theirs in zip(factors, (a, b, theta), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def lanes_of(layer, x, own, strategy='vmap'):
    """Outputs of the shared stream and of lanes whose inputs are ``x`` plus a change each."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = adapt_layer(
                nn.Linear(x.shape[-1], x.shape[-1]), dict(type='LoRA', rank=2), TASKS
            ).double()
            self.layer = layer

    block = Block()
    with torch.no_grad():
        block.first.adapter.task_B.copy_(own)
    return block, LaneBlock(block, TASKS, lambda m, x: m.layer(m.first(x)), strategy)(x)


@pytest.mark.parametrize('strategy', ['vmap', 'loop', 'fold'])
def test_only_the_change_of_the_weight_sees_a_lanes_input(strategy):
    layer, x = adapted(tasks=TASKS)
    stir(layer)
    adapter = layer.adapter
    own = torch.randn(len(TASKS), x.shape[-1], 2, dtype=torch.float64)
    block, (shared, lanes) = lanes_of(layer, x, own, strategy)
    first, w0 = block.first, layer.weight.detach()
    middle = first(x)
    torch.testing.assert_close(shared, layer(middle))
    for i, task in enumerate(TASKS):
        x_t = F.linear(x, first.adapter.weight(first, task), first.bias)
        assert (x_t - middle).abs().max() > 0.1
        weight = released_weight(
            w0, adapter.task_A[i], adapter.task_B[i], adapter.task_log_magnitude[i]
        )
        expected = F.linear(middle, w0, layer.bias) + F.linear(x_t, weight - w0)
        torch.testing.assert_close(lanes[i], expected)


def test_dropout_reaches_the_change_of_the_weight_only():
    layer, x = adapted(dropout=0.5)
    stir(layer)
    layer.train()
    weight, w0 = layer.adapter.weight(layer).detach(), layer.weight.detach()
    torch.manual_seed(3)
    out = layer(x)
    torch.manual_seed(3)
    dropped = dropout(x, 0.5)
    torch.testing.assert_close(out, F.linear(x, w0, layer.bias) + F.linear(dropped, weight - w0))
    layer.eval()
    torch.testing.assert_close(layer(x), F.linear(x, weight, layer.bias))


@pytest.mark.parametrize('options', [RELEASED, dict(residual=False)], ids=['residual', 'not'])
@pytest.mark.parametrize('sizes', [(12, 10), (700, 500)])
def test_start_is_the_pretrained_layer(sizes, options):
    original = nn.Linear(*sizes)
    x = torch.randn(5, sizes[0])
    expected = original(x)
    layer = adapt_layer(original, {**dict(type='DoRA', rank=4), **RELEASED, **options})
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)
    assert layer.adapter.log_magnitude.abs().max() == 0


@pytest.mark.parametrize('residual', [True, False])
def test_a_model_in_half_precision_stays_in_it(residual):
    torch.manual_seed(0)
    original = nn.Linear(40, 24)
    cfg = {**dict(type='DoRA', rank=3), **RELEASED, 'residual': residual, 'dropout': 0.2}
    layer = adapt_layer(original, cfg, TASKS).bfloat16()
    x = torch.randn(5, 40).bfloat16()
    expected = layer.frozen(x)
    # the start, within what bfloat16 can tell apart
    for out in (layer(x), layer.eval()(x)):
        torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)
    weight = layer.adapter.weight(layer)
    assert weight.dtype == torch.bfloat16
    torch.testing.assert_close(weight, layer.weight.detach(), rtol=1e-2, atol=1e-2)
    for params in layer.adapter.lane_slices(layer):
        out = layer.adapter.lane(layer, x, params, expected if residual else None)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, expected, rtol=2e-2, atol=2e-2)


def test_start_follows_weights_that_are_loaded_later():
    layer, x = adapted(tasks=TASKS)
    stir(layer)
    other = LAYERS['linear'][0]().double()
    other.weight.data.mul_(3)
    layer.load_state_dict(other.state_dict(), strict=False)
    with torch.no_grad():
        layer.adapter.B.zero_()
    torch.testing.assert_close(layer(x), other(x))


def test_lanes_merge_unless_they_are_residual():
    layer, _ = adapted(tasks=TASKS)
    with pytest.raises(NotMergeableError, match='passes the shared stream'):
        layer.adapter.weight(layer, 'depth')
    layer, _ = adapted(tasks=TASKS, residual=False)
    stir(layer)
    adapter = layer.adapter
    theta = adapter.task_log_magnitude[1]
    expected = released_weight(layer.weight, adapter.task_A[1], adapter.task_B[1], theta)
    torch.testing.assert_close(adapter.weight(layer, TASKS[1]), expected)


@pytest.mark.parametrize('tasks', [(), TASKS], ids=['shared', 'lanes'])
def test_a_mask_is_a_truncation(tasks):
    """The first b components: as if the adapter had been made with b."""
    layer, x = adapted(tasks=tasks)
    stir(layer)
    layer.train()
    small, _ = adapted(tasks=tasks, rank=2)
    with torch.no_grad():
        for name, p in small.adapter.named_parameters():
            whole = getattr(layer.adapter, name)
            p.copy_(whole[tuple(slice(side) for side in p.shape)])
    for group in layer.adapter.groups.values():
        group.prefix = torch.full((len(group.streams),), 2)
    torch.testing.assert_close(layer(x), small(x))
    if tasks:
        masked, cut = (m.adapter.lane_slices(m) for m in (layer, small))
        memory = torch.zeros(*x.shape[:-1], layer.out_features, dtype=x.dtype)
        for one, other in zip(masked, cut, strict=True):
            torch.testing.assert_close(
                layer.adapter.lane(layer, x, one, memory),
                small.adapter.lane(small, x, other, memory),
            )


def test_a_checkpoint_of_the_other_magnitude_is_refused():
    layer, _ = adapted()
    other, _ = adapted(magnitude_rate=None)
    with pytest.raises(RuntimeError, match='log_magnitude'):
        layer.load_state_dict(other.state_dict())


@pytest.mark.parametrize(('options', 'match'), [
    (dict(direction='row'), "direction='row' is unknown.*rows"),
    (dict(magnitude_rate=0.0), 'magnitude_rate to be positive'),
    (dict(frozen_input='task'), 'leave one of the two out'),
])  # fmt: skip
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        adapted(**options)
