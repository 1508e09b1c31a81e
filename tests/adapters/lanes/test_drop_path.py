"""Stochastic depth in lane blocks: a lane's branches all see what the lane has drawn."""

import pytest
import torch
from timm.models.swin_transformer import SwinTransformerBlock

from mtpeft.adapters import LaneBlock, adapt_layer

TASKS = ('semseg', 'depth')


@pytest.mark.parametrize('strategy', ['vmap', 'loop', 'fold'])
@pytest.mark.parametrize('layer', ['proj', 'fc2'])
def test_a_lane_is_the_block_with_some_branches_dropped(strategy, layer):
    """Adapters at their start: each sample of a lane is one of the four ways through the block."""
    block = SwinTransformerBlock(8, (7, 7), num_heads=2, drop_path=0.5).train()
    torch.nn.init.normal_(block.mlp.fc2.weight)
    torch.nn.init.normal_(block.attn.proj.weight)
    parent = block.attn if layer == 'proj' else block.mlp
    for name, host in (('qkv', block.attn), ('fc1', block.mlp)):
        setattr(host, name, adapt_layer(getattr(host, name), dict(type='LoRA', rank=2)))
    setattr(parent, layer, adapt_layer(getattr(parent, layer), dict(type='LoRA', rank=2), TASKS))
    x = torch.randn(6, 7, 7, 8)
    shared, lanes = LaneBlock(block, TASKS, lambda block, x: block(x), strategy)(x)
    ways = []
    for first in (0, 2):  # kept branches are divided by the probability to keep them
        y = x + first * block._attn(block.norm1(x))
        ways += [y + second * block.mlp(block.norm2(y)) for second in (0, 2)]
    ways = torch.stack(ways).flatten(2)
    taken = []
    for stream in (shared, *lanes):
        gaps = (stream.flatten(1) - ways).abs().amax(-1)
        assert gaps.min(0).values.max() < 1e-4
        taken.append(gaps.argmin(0).tolist())
    assert len(set(map(tuple, taken))) > 1  # streams draw for themselves
