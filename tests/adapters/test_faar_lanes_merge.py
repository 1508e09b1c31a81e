"""FAAR's lanes are stock blocks with merged weights: each task can be had as plain weights."""

import copy

import pytest
import timm
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY

from mtpeft.adapters import low_rank_adapters, rank_pattern
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth')
LANES = ('attn.proj', 'mlp.fc1', 'mlp.fc2')


@pytest.fixture
def backbone():
    """A tiny Swin with FAAR's adapters away from their start, some components pruned."""
    dora = dict(type='DoRA', rank=4)
    plugins = [
        dict(cfg=dora, targets=['qkv', 'reduction']),
        dict(cfg=dora, targets=['proj', 'fc1', 'fc2'], lanes='task'),
    ]
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS, tap='pre_merge')
    stir(model, 0.1)
    for number, adapter in enumerate(low_rank_adapters(model).values()):
        for group in adapter.groups.values():
            for index in range(len(group.streams)):
                order = torch.randperm(4)[: 1 + (number + index) % 4]
                tensors = {name: [p.data] for name, p in group.parameters.items()}
                group.keep(index, order, tensors)
    return model.eval()


def stock(backbone):
    """timm's own network with the shared path merged in."""
    options = dict(TINY['timm Swin'])
    network = timm.create_model(options.pop('type').split('.', 1)[1], num_classes=0, **options)
    network.load_state_dict(backbone.merged_state_dict())
    return network.eval()


def test_lanes_are_stock_blocks(backbone):
    ranks = rank_pattern(backbone).values()
    assert len({(r['semseg'], r['depth']) for r in ranks if 'depth' in r}) > 2
    network, inputs = stock(backbone), {}
    for stage, layer in enumerate(network.layers):
        layer.blocks[-1].register_forward_pre_hook(
            lambda block, args, stage=stage: inputs.setdefault(stage, args[0])
        )
    picture = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        network(picture)
        levels = backbone(picture)
        for stage, layer in enumerate(network.layers):
            for task in TASKS:
                block = copy.deepcopy(layer.blocks[-1])
                block._forward_pre_hooks.clear()
                for name in LANES:
                    adapted = backbone.network.layers[stage].blocks[-1].get_submodule(name)
                    plain = block.get_submodule(name)
                    assert type(plain) is torch.nn.Linear
                    plain.weight.copy_(adapted.adapter.weight(adapted, task))
                out = block(inputs[stage]).permute(0, 3, 1, 2)
                torch.testing.assert_close(levels[task][stage], out, rtol=1e-4, atol=1e-4)
            assert not torch.allclose(levels['semseg'][stage], levels['depth'][stage], atol=1e-2)
