"""VL-Adapter: bottleneck adapters shared whole or by half."""

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import TASKS, stir
from torch import nn

from mtpeft.adapters import LaneBlock, adapt_layer


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def reference(layer, x, down, down_bias, up, up_bias):
    h = F.linear(x, layer.weight, layer.bias)
    return h + F.linear(F.gelu(F.linear(h, down, down_bias)), up, up_bias)


@pytest.mark.parametrize('share', ['down', 'up'])
def test_lanes_share_one_half_and_have_the_other(share):
    layer = adapt_layer(nn.Linear(6, 8), dict(type='VLAdapter', width=3, share=share), TASKS)
    stir(layer)
    adapter, x = layer.adapter, torch.randn(2, 5, 6)
    _, lanes = LaneBlock(Block(layer), TASKS, lambda block, x: block(x))(x)
    state = adapter.state_dict()
    for task, lane in zip(TASKS, lanes, strict=True):
        weights = [
            state[f'base_{name}' if name.startswith(share) else f'task_{name}.{task}']
            for name in ('down', 'down_bias', 'up', 'up_bias')
        ]
        torch.testing.assert_close(lane, reference(layer, x, *weights))
    assert not torch.allclose(lanes[0], lanes[1])


def test_half_of_the_lanes_does_not_grow_with_the_tasks():
    def count(kind, tasks):
        layer = adapt_layer(nn.Linear(6, 8), dict(type=kind, width=3), tasks)
        return sum(p.numel() for p in layer.adapter.parameters())

    down, up = 3 * 8 + 3, 8 * 3 + 8
    for number in (1, 2, 5):
        tasks = [f't{i}' for i in range(number)]
        assert count('VLAdapter', tasks) == down + up + down + number * up
        assert count('BottleneckAdapter', tasks) == (1 + number) * (down + up)


def test_without_lanes_it_is_the_bottleneck_adapter():
    torch.manual_seed(0)
    single = adapt_layer(nn.Linear(6, 8), dict(type='VLAdapter', width=3))
    torch.manual_seed(0)
    plain = adapt_layer(nn.Linear(6, 8), dict(type='BottleneckAdapter', width=3))
    plain.load_state_dict(single.state_dict(), strict=True)
    stir(single)
    stir(plain)
    x = torch.randn(4, 6)
    torch.testing.assert_close(single(x), plain(x))


def test_an_unknown_half_is_named():
    with pytest.raises(ValueError, match="share='downs' is unknown. Did you mean 'down'"):
        adapt_layer(nn.Linear(6, 8), dict(type='VLAdapter', share='downs'), TASKS)
