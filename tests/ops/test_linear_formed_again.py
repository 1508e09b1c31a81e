"""A product whose weight is formed twice equals that with a weight that is kept."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import stir
from torch import nn

from mtpeft.adapters import LaneBlock, adapt_layer
from mtpeft.ops import plain
from mtpeft.ops.linear_formed_again import linear_formed_again

LANES = 3
METHODS = {
    'shared base': dict(type='SineAWB', rank=3, kernel_size=None),
    'independent base': dict(
        type='SineAWB', rank=3, kernel_size=None, base='independent', lowpass=False
    ),
    'a kernel beside the layer': dict(type='SineAWB', rank=3, kernel_size=3),
    'Sine-LoRA': dict(type='SineLoRA', rank=3),
    'Sine-LoRA beside the shared output': dict(type='SineLoRA', rank=3, frozen_input='shared'),
}
methods = pytest.mark.parametrize('method', METHODS.values(), ids=METHODS)


def double(*shape, grad=True):
    return torch.randn(shape, dtype=torch.float64, requires_grad=grad)


def make(a, b, weight):
    """Sources with an axis of lanes, of which that of ``weight`` is 1."""
    return (weight + (b @ a).sin()).expand(len(a), -1, -1)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('rows', [(4,), (2, 3), ()], ids=str)
def test_equals_the_product_with_a_kept_weight(rows, bias):
    x, a, b, weight = double(*rows, 5), double(2, 5), double(6, 2), double(6, 5)
    inputs = [x, a, b, weight, *([double(6)] if bias else [])]
    found = linear_formed_again(x, inputs[4] if bias else None, make, a, b, weight)
    expected = F.linear(x, weight + (b @ a).sin(), inputs[4] if bias else None)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
    )


@pytest.mark.parametrize('mapped', [(0, 0, 0), (None, 0, 0), (1, None, 1), (2, 1, None)], ids=str)
def test_lanes_under_vmap_equal_lanes_one_by_one(mapped):
    """Whatever is mapped, and on whichever axis."""
    weight, bias = double(6, 5), double(6)
    shapes = dict(x=(2, 4, 5), a=(2, 5), b=(6, 2))
    tensors = []
    for shape, dim in zip(shapes.values(), mapped, strict=True):
        shape = list(shape)
        shape[dim if dim is not None else 0 : dim or 0] = [] if dim is None else [LANES]
        tensors.append(double(*shape))

    def lane(x, a, b):
        return linear_formed_again(x, bias, make, a, b, weight)

    found = torch.vmap(lane, in_dims=mapped)(*tensors)
    slices = [
        [t if dim is None else t.select(dim, i) for t, dim in zip(tensors, mapped, strict=True)]
        for i in range(LANES)
    ]
    expected = torch.stack([lane(*one) for one in slices])
    torch.testing.assert_close(found, expected)
    upstream, inputs = torch.randn_like(expected), [*tensors, weight, bias]
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
    )


def test_gradients_of_two_sources_that_are_one_tensor_are_summed_each():
    x, a, b = double(LANES, 4, 5), double(6, 5), double(6, 5)
    out = torch.vmap(lambda x: linear_formed_again(x, None, torch.add, a, b))(x)
    upstream = torch.randn_like(out)
    expected = torch.einsum('lno,lni->oi', upstream, x)
    for gradient in torch.autograd.grad(out, [a, b], upstream):
        torch.testing.assert_close(gradient, expected)


def test_lanes_at_once_equal_lanes_in_turn(monkeypatch):
    """What other devices than a CPU do."""
    x, a, b, weight = double(LANES, 4, 5), double(LANES, 2, 5), double(LANES, 6, 2), double(6, 5)
    results = []
    for groups in (None, lambda x, count: [slice(None)]):
        if groups:
            monkeypatch.setattr('mtpeft.ops.linear_formed_again.groups_of_lanes', groups)
        out = torch.vmap(lambda *own: linear_formed_again(own[0], None, make, *own[1:], weight))
        out = out(x, a, b)
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, a, b, weight])])
    torch.testing.assert_close(*results)


def test_each_lane_with_a_bias_of_its_own_is_refused():
    weight = double(6, 5)
    with pytest.raises(ValueError, match='one bias for all lanes'):
        torch.vmap(lambda x, bias: linear_formed_again(x, bias, lambda w: w, weight))(
            double(LANES, 4, 5), double(LANES, 6)
        )


def stirred(method, tasks):
    layer = adapt_layer(nn.Linear(20, 30), method, tasks)
    stir(layer)
    return layer


def lanes_and_gradients(layer, x, strategy):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)

    layer.zero_grad()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        block = LaneBlock(Block(), layer.adapter.tasks, lambda block, x: block(x), strategy)
        shared, lanes = block(x)
        total = shared.sum() + sum(lane.square().sum() for lane in lanes)
    total.backward()
    found = {n: p.grad for n, p in layer.named_parameters() if p.grad is not None}
    return lanes, {**found, 'x': x.grad}, kept


@methods
@pytest.mark.parametrize('strategy', ['vmap', 'loop', 'fold'])
def test_lanes_of_every_method_are_those_with_kept_weights(method, strategy):
    tasks = ('semseg', 'depth', 'normals')
    layer = stirred(method, tasks).double().train()
    results = []
    for context in (nullcontext(), plain()):
        x = torch.randn(2, 3, 3, 20, dtype=torch.float64, generator=torch.manual_seed(0))
        with context:
            results.append(lanes_and_gradients(layer, x.requires_grad_(), strategy))
    (lanes, gradients, kept), (expected, wanted, others) = results
    torch.testing.assert_close(torch.stack(list(lanes)), torch.stack(list(expected)))
    torch.testing.assert_close(gradients, wanted)
    if method.get('kernel_size') is None and strategy == 'vmap':
        # tensors as large as the weights of all lanes
        stacks = [sum(t.numel() >= len(tasks) * 20 * 30 for t in each) for each in (kept, others)]
        assert stacks[0] == 0 < stacks[1]


@pytest.mark.parametrize('kind', [torch.bfloat16, torch.float16], ids=str)
def test_under_autocast_weights_are_formed_in_single_precision(kind):
    layer = stirred(METHODS['shared base'], ('semseg', 'depth'))
    x = torch.randn(4, 20)
    with torch.autocast('cpu', kind):
        lanes, gradients, _ = lanes_and_gradients(layer, x.clone().requires_grad_(), 'loop')
    exact, wanted, _ = lanes_and_gradients(layer, x.clone().requires_grad_(), 'loop')
    assert lanes[0].dtype == kind
    torch.testing.assert_close(lanes.float(), exact, rtol=0.02, atol=0.02)
    for name, gradient in wanted.items():
        bound = 0.05 * gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0.05, atol=bound)
