"""Every adapter on the GPU: outputs and gradients of the CPU, to rounding."""

import copy

import pytest
import torch
from helpers.adapter_grid import LAYERS, label, methods, stir
from helpers.backbones import tiny

from mtpeft.adapters import adapt_layer
from mtpeft.ops.dropout import Drops, dropout
from mtpeft.ops.dropped_low_rank_add import dropped_low_rank_add

HALVES = {'float32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def passed(layer, x, device, half=None):
    """Outputs and gradients of all that trains, of a copy on the device; all on the CPU."""
    layer, x = copy.deepcopy(layer).to(device), x.to(device).requires_grad_()
    with torch.autocast(device.type, half, enabled=half is not None):
        outputs = layer(x)
    outputs.float().square().mean().backward()
    grads = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
    return {'output': outputs, 'input': x.grad, **grads}


def same(found, expected, half=None):
    """Equal to rounding; in half precision of the same direction and length."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        value = value.detach().double().cpu().flatten()
        other = found[name].detach().double().cpu().flatten()
        assert torch.isfinite(other).all(), name
        share = 1e-4 if half is None else 0.2
        assert float((other - value).norm()) <= share * float(value.norm()) + 1e-7, name


@pytest.mark.parametrize('half', HALVES.values(), ids=HALVES)
@pytest.mark.parametrize('kind', ['linear', 'conv 3x3 stride 2'])
@pytest.mark.parametrize('method', methods(), ids=label)
def test_shared_stream(method, kind, half, device):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    try:
        layer = adapt_layer(build(), method)
    except (TypeError, ValueError) as reason:
        pytest.skip(str(reason))
    stir(layer)
    x = torch.randn(shape)
    found = passed(layer.eval(), x, device, half)
    same(found, passed(layer, x, torch.device('cpu')), half)


@pytest.mark.parametrize('strategy', ['loop', 'vmap', 'fold'])
@pytest.mark.parametrize('method', ['LoRA', 'MTLoRA', 'DoRA', 'SineLoRA'])
def test_lanes(method, strategy, device):
    torch.manual_seed(0)
    model, x, results = tiny('timm Swin', dict(type=method, rank=2)), torch.randn(1, 3, 64, 64), []
    stir(model, 0.05)
    for where in (device, torch.device('cpu')):
        own = copy.deepcopy(model).to(where).eval()
        own.streams.lanes = own.streams.make_lanes(strategy)
        levels = own(x.to(where))
        sum(level.square().mean() for task in levels.values() for level in task).backward()
        grads = {name: p.grad for name, p in own.named_parameters() if p.grad is not None}
        outputs = {f'{task} {i}': y for task in levels for i, y in enumerate(levels[task])}
        results.append({**outputs, **grads})
    same(*results)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_dropout_is_drawn_again(dtype, device):
    p, count = 0.05, 1 << 20
    places = Drops(p, 3, device).next(count)
    mask = (
        torch.zeros(count, device=device).index_fill_(0, places, 1)
        if device.type == 'cpu'
        else places
    )
    rate = float(mask.float().mean())
    assert abs(rate - p) < 5 * (p * (1 - p) / count) ** 0.5
    x = torch.randn(64, 32, device=device, dtype=dtype, requires_grad=True)
    out = dropout(x, 0.3)
    out.backward(torch.ones_like(out))
    assert torch.equal(x.grad != 0, out != 0)
    eye, low = torch.eye(32, device=device, dtype=dtype), torch.zeros_like(x)
    torch.manual_seed(1)
    one = dropped_low_rank_add(low, x, eye, eye, 1.0, 0.3)
    torch.manual_seed(1)
    assert torch.equal(one, dropped_low_rank_add(low, x, eye, eye, 1.0, 0.3))
