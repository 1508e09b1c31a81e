"""A compiled backbone with DiTASK: one graph, and the spectrum of the weight that it has now."""

import pytest
import torch
from helpers.adapter_grid import TASKS, stir
from helpers.backbones import TINY
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.lanes.current import now
from mtpeft.models import AdapterBackbone
from mtpeft.utils.compiling import OLDEST_TORCH, traces_lanes

pytestmark = pytest.mark.skipif(
    not traces_lanes(), reason=f'torch {OLDEST_TORCH} or newer compiles lanes'
)


def build(seed):
    torch.manual_seed(seed)
    net = AdapterBackbone(
        dict(TINY['timm Swin'], depths=(1,), num_heads=(1,), drop_path_rate=0.0, out_indices=(0,)),
        tasks=TASKS[:2],
        plugins=[
            dict(
                cfg=dict(type='DiTASK', cells=4, dropout=0.0),
                targets=['fc1'],
                lanes='task',
            )
        ],
    ).double()
    stir(net, 0.1, seed)
    return net


def gradients(net, x):
    net.zero_grad()
    levels = [level for of_task in net(x).values() for level in of_task]
    sum((level * level.detach().cos()).sum() for level in levels).backward()
    return levels, {n: p.grad for n, p in net.named_parameters() if p.requires_grad}


def test_graph_follows_weights_that_are_loaded_after_it_was_made():
    net, other, x = build(1), build(2), torch.randn(1, 3, 28, 28).double()
    expected = [gradients(each, x) for each in (net, other)]
    assert not torch.allclose(expected[0][0][0], expected[1][0][0], atol=1e-3)
    torch._dynamo.reset()
    # fullgraph raises at a break
    net.compile(backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(gradients(net, x), expected[0], rtol=1e-6, atol=1e-8)
    with torch._dynamo.config.patch(error_on_recompile=True):
        net.load_state_dict(other.state_dict())
        torch.testing.assert_close(gradients(net, x), expected[1], rtol=1e-6, atol=1e-8)
    assert not now.prepared


def test_inference_kept_before_compiling_is_not_what_a_graph_returns():
    net, other, x = build(1).eval(), build(2).eval(), torch.randn(1, 3, 28, 28).double()
    torch._dynamo.reset()
    with torch.no_grad():
        net(x)
        net.compile(backend='eager', fullgraph=True)
        for _ in range(2):
            net.load_state_dict(other.state_dict())
            torch.testing.assert_close(net(x), other(x), rtol=1e-6, atol=1e-8)
            stir(other, 0.1)


def test_a_layer_compiled_alone_breaks_its_graph_and_is_right():
    layer = adapt_layer(nn.Linear(6, 5), dict(type='DiTASK', cells=4, dropout=0.0)).double()
    x = torch.randn(2, 6).double()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend='eager')
    for _ in range(2):
        torch.testing.assert_close(compiled(x), layer(x))
        layer.load_state_dict(dict(layer.state_dict(), weight=torch.randn(5, 6)))
