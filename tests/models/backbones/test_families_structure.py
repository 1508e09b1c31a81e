"""Lane blocks, levels and lanes of every family, against the stock networks."""

import copy

import pytest
import timm
import torch
from helpers.adapter_grid import stir
from helpers.backbones import MLP, TINY, wake
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.adapters.lanes.current import now, within
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth')
SIDE = 448  # here mmseg and timm shift their windows alike
DEEP = {  # unequal depths, so that a wrong block shows
    'timm Swin': dict(depths=(1, 3, 4, 2)),
    'timm Swin V2': dict(depths=(1, 3, 4, 2)),
    'mmseg Swin': dict(depths=(1, 3, 4, 2)),
    'timm ConvNeXt': dict(depths=(1, 3, 4, 2)),
    'timm ViT': dict(depth=12),
    'timm EVA': dict(depth=12),
    'timm DINOv3': dict(depth=12),
    'timm BEiT': dict(depth=12),
    'timm PVT v2': dict(depths=(1, 3, 4, 2)),
    'timm Hiera': dict(stages=(1, 3, 4, 2)),
    'mmseg MiT': dict(num_layers=[1, 3, 4, 2]),
}
SWIN = ['layers.0.blocks.0', 'layers.1.blocks.2', 'layers.2.blocks.3', 'layers.3.blocks.1']
STAGES = [name.replace('layers', 'stages') for name in SWIN]
PYRAMID, MERGED = (4, 8, 16, 32), (8, 16, 32, 32)
EXPECTED = {  # lane blocks, and strides of the levels after merging
    'timm Swin': (SWIN, MERGED),
    'timm Swin V2': (SWIN, MERGED),
    'mmseg Swin': (STAGES, MERGED),
    'timm ConvNeXt': (STAGES, MERGED),
    'timm ViT': (['blocks.2', 'blocks.5', 'blocks.8', 'blocks.11'], (16,) * 4),
    **dict.fromkeys(
        ('timm EVA', 'timm DINOv3', 'timm BEiT'),
        (['blocks.2', 'blocks.5', 'blocks.8', 'blocks.11'], (16,) * 4),
    ),
    'timm PVT v2': (STAGES, MERGED),
    'timm Hiera': (['blocks.0', 'blocks.3', 'blocks.7', 'blocks.9'], PYRAMID),
    'mmseg MiT': (['layers.0.1.0', 'layers.1.1.2', 'layers.2.1.3', 'layers.3.1.1'], MERGED),
    'mmseg ResNet': (['layer1.2', 'layer2.3', 'layer3.5', 'layer4.2'], PYRAMID),
}
CNNS = (
    'tf_efficientnet_lite0', 'tf_efficientnet_lite2', 'mobilenetv2_050', 'mobilenetv3_small_050',
    'mobilenetv3_large_100',
)  # fmt: skip


def config(family):
    return {**TINY[family], **DEEP.get(family, {})}


@pytest.mark.parametrize('family', EXPECTED)
def test_lane_blocks_and_strides(family):
    blocks, strides = EXPECTED[family]
    model = AdapterBackbone(config(family), tasks=TASKS)
    assert [stage.lane_block for stage in model.family.stages] == blocks
    assert model.strides == strides
    unmerged = AdapterBackbone(config(family), tasks=TASKS, tap='pre_merge')
    assert unmerged.strides == (PYRAMID if strides == MERGED else strides)


@pytest.mark.parametrize('name', CNNS)
def test_lane_blocks_of_mobile_networks_are_the_last_at_each_stride(name):
    model = AdapterBackbone(dict(type=f'timm.{name}'), tasks=TASKS)
    # the oracle is timm's own table of where a network's features come from
    pyramid = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4)).feature_info
    assert model.strides == tuple(pyramid.reduction()) == PYRAMID
    lanes = [stage.lane_block for stage in model.family.stages]
    maps = {}
    for block in lanes:
        model.network.get_submodule(block).register_forward_hook(
            lambda module, args, out, block=block: maps.update({block: out.shape})
        )
    model.eval()(torch.zeros(1, 3, 64, 64))
    assert [64 // maps[block][-1] for block in lanes] == list(PYRAMID)
    following = [f'blocks.{i}.{j}' for i, s in enumerate(model.network.blocks)
                 for j in range(len(s))]  # fmt: skip
    for block, stage in zip(lanes, model.family.stages[1:], strict=False):
        # what comes next halves the map
        assert stage.blocks[0] == following[following.index(block) + 1]
    assert lanes[-1] == following[-1]
    if name == 'tf_efficientnet_lite2':
        assert [block.rpartition('.')[0] for block in lanes] == [
            f'blocks.{i}' for i in (1, 2, 4, 6)
        ]


MERGING = {
    'timm Swin': 'layers.{}.downsample',
    'timm Swin V2': 'layers.{}.downsample',
    'timm ConvNeXt': 'stages.{}.downsample',
    'timm PVT v2': 'stages.{}.downsample',
    'mmseg MiT': 'layers.{}.0',
}


@pytest.mark.parametrize('family', [*MERGING, 'mmseg Swin'])
def test_levels_after_merging_are_what_the_stock_merging_gives(family):
    model = AdapterBackbone(config(family), tasks=TASKS).eval()
    wake(model.network)
    network, merged = stock(family), []
    network.load_state_dict(model.network.state_dict())
    names = (
        [f'stages.{i}.downsample' for i in range(3)]
        if family == 'mmseg Swin'
        else [MERGING[family].format(i) for i in (1, 2, 3)]
    )
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda m, a, out: merged.append(out))
    x = torch.randn(1, 3, SIDE, SIDE)
    with torch.no_grad():
        run = network if family.startswith('mmseg') else network.forward_features
        run(x)
        levels = model(x)
    for level, out in zip(levels['depth'], merged, strict=False):
        tokens = out[0] if isinstance(out, tuple) else out
        if tokens.ndim == 3:
            tokens = tokens.unflatten(1, tuple(out[1])).permute(0, 3, 1, 2)
        elif family != 'timm ConvNeXt':
            tokens = tokens.permute(0, 3, 1, 2)
        torch.testing.assert_close(level, tokens, rtol=1e-4, atol=1e-4)


def stock(family):
    """The network of another library, built by that library."""
    if family.startswith('mmseg'):
        with DefaultScope.overwrite_default_scope('mmseg'):
            network = MMSEG.build(config(family))
        network.eval()  # mmseg's Swin returns nothing
        return network
    options = {k: v for k, v in config(family).items() if k != 'type'}
    if 'Swin' in family:
        options['img_size'] = SIDE
    name = TINY[family]['type'].removeprefix('timm.')
    return timm.create_model(name, num_classes=0, **options).eval()


_VIT = dict(embed_dim=24, depth=4, num_heads=2)
MORE = {  # others of the same families
    'timm MobileNet V2': dict(type='timm.mobilenetv2_050'),
    'timm DINOv2': dict(type='timm.vit_small_patch14_reg4_dinov2', img_size=224, **_VIT),
    'timm DeiT distilled': dict(type='timm.deit_tiny_distilled_patch16_224', **_VIT),
    'timm hybrid ViT': dict(type='timm.vit_tiny_r_s16_p8_224', **_VIT),
    'timm EVA, places of each block': dict(type='timm.vit_small_patch16_rope_mixed_224', **_VIT),
}


@pytest.mark.parametrize('family', [*TINY, *MORE])
def test_a_lane_is_its_block_with_merged_weights(family):
    """In training, with the frozen statistics of BatchNorm: ``block(W0 + s B_t A_t)``."""
    cfg = TINY.get(family) or MORE[family]
    targets = MLP.get(family, ['project'] if 'Mobile' in family else MLP['timm ViT'])
    plugin = dict(cfg=dict(type='LoRA', rank=2, task_rank=2), targets=targets, lanes='task')
    cfg = {**cfg, 'drop_path_rate': 0.0} if 'Swin' in family else cfg
    model = AdapterBackbone(cfg, plugins=[plugin], tasks=TASKS, tap='pre_merge')
    wake(model.network)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
    stir(model, 0.1)
    model.train()
    seen = {}
    for name, lane in model.lanes.items():
        run = lane.run

        def record(block, x, name=name, run=run):
            # the first pass is the shared stream's
            of_pass = dict(size=now.size, prefix=now.prefix, places=now.places)
            seen.setdefault(name, (x.detach(), of_pass))
            return run(block, x)

        lane.run = record
    x = torch.randn(2, 3, 64, 96)
    levels = model(x)
    for number, stage in enumerate(model.family.stages):
        if stage.lane_block not in model.lanes:
            continue
        block = model.network.get_submodule(stage.lane_block)
        for task in TASKS:
            plain = plain_block(block, task)
            given, of_pass = seen[stage.lane_block]
            with within(**of_pass):
                out = model.family.run_block(plain, given)
                if stage.end:
                    out = model.network.get_submodule(stage.end)(out)
                if stage.out_norm:
                    out = model.network.get_submodule(stage.out_norm)(out)
                expected = model.family.to_nchw(out)
            torch.testing.assert_close(levels[task][number], expected, rtol=1e-4, atol=1e-4)
    assert len(model.lanes) == (3 if family == 'timm MobileNet' else 4)


def plain_block(block, task):
    """A copy without adapters, in eval mode, whose weights are those of one task."""
    plain = copy.deepcopy(block)
    for name, layer in block.named_modules():
        if not hasattr(layer, 'adapter'):
            continue
        base = next(c for c in type(layer).__mro__ if c.__module__.startswith(('torch.', 'timm.')))
        bare = base.__new__(base)
        bare.__dict__.update({k: v for k, v in layer.__dict__.items() if k != 'stream'})
        bare._modules, bare._parameters = {}, dict(layer._parameters)
        bare._parameters['weight'] = torch.nn.Parameter(layer.adapter.weight(layer, task).detach())
        parent, _, attribute = name.rpartition('.')
        setattr(plain.get_submodule(parent), attribute, bare)
    return plain.eval()
