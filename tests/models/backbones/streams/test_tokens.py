"""Task tokens through the network, and lanes switched by frequency, over whole backbones."""

import copy

import pytest
import timm
import torch
from helpers.adapter_grid import stir
from helpers.backbones import FIRST, MLP, TINY, wake
from helpers.windows import block_by_windows
from torch import nn

from mtpeft.adapters import NotMergeableError
from mtpeft.adapters.lanes.current import within
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth', 'normals')
TAKE_TOKENS = ['timm Swin', 'mmseg Swin', 'timm ViT']
FC2 = {name: roles[-1:] for name, roles in MLP.items()}


def sinewich(family, clock=None, tasks=TASKS, awb=None, **options):
    """A tiny backbone with Free Sinewich's adapters."""
    awb = dict(type='SineAWB', rank=2, **(awb or {}))
    plugins = [
        dict(cfg=dict(type='LoRA', rank=2), targets=FIRST[family]),
        dict(cfg=awb, targets=FC2[family], lanes='task'),
    ]
    model = AdapterBackbone(TINY[family], plugins=plugins, tasks=tasks, clock=clock, **options)
    wake(model.network)
    return model


def with_tokens(family, **options):
    return sinewich(family, clock=dict(tokens='prepend'), **options)


def plain(model, family):
    """The same network and tokens without any adapter."""
    bare = AdapterBackbone(TINY[family], tasks=TASKS, clock=dict(tokens='prepend'))
    state = {k: v for k, v in model.state_dict().items() if '.adapter.' not in k}
    bare.load_state_dict(state)
    return bare


def flat(levels):
    return torch.cat([x.flatten() for task in levels for x in levels[task]])


@pytest.mark.parametrize('family', TAKE_TOKENS)
@pytest.mark.parametrize('size', [(64, 64), (70, 96)])
def test_the_start_is_the_backbone_with_its_tokens(family, size):
    model = with_tokens(family).eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        levels, expected = model(x), plain(model, family).eval()(x)
    for task in TASKS:
        for found, wanted in zip(levels[task], expected[task], strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('family', [f for f in TINY if f in FC2 and f != 'timm Hiera'])
def test_free_tokens_leave_the_network_alone(family):
    """The start is the plain backbone, whatever the family."""
    model = sinewich(family).eval()
    bare = AdapterBackbone(TINY[family], tasks=TASKS).eval()
    bare.load_state_dict({k: v for k, v in model.state_dict().items()
                          if '.adapter.' not in k and not k.startswith('clock.')})  # fmt: skip
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(flat(model(x)), flat(bare(x)), rtol=1e-4, atol=1e-5)
    assert [site.name for site in model.clock.sites] == [
        n for n, la in model.adapter_layers().items() if la.adapter.tasks
    ]


@pytest.mark.parametrize('index', [0, 1], ids=['plain windows', 'shifted windows'])
def test_tokens_meet_windows_as_written(index):
    """One block of timm's Swin against loops over windows: patches, and the tokens' next state."""
    model = with_tokens('timm Swin').eval()
    stream, family = model.token_stream, model.family
    block = model.network.layers[0].blocks[index]
    nn.init.normal_(block.attn.relative_position_bias_table)
    x, tokens = torch.randn(2, 14, 21, 8), torch.randn(2, 3, 8)
    with torch.no_grad(), within(size=(14, 21)):
        assert any(block.shift_size) == bool(index)
        out, after = stream.run(lambda x: family.run_block(block, x), block, x, tokens)
        patches, expected = block_by_windows(block, x, tokens)
    torch.testing.assert_close(out, patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_timm_and_mmseg_agree_on_tokens():
    """The two libraries' Swins with the same weights and tokens give the same features."""
    from mtpeft.models.backbones.swin_keys import timm_to_mmseg_swin

    ours, theirs = with_tokens('timm Swin').eval(), with_tokens('mmseg Swin').eval()
    network = {k: v for k, v in ours.network.state_dict().items() if '.adapter.' not in k}
    theirs.network.load_state_dict(timm_to_mmseg_swin(network), strict=False)
    theirs.clock.load_state_dict(ours.clock.state_dict())
    theirs.token_stream.load_state_dict(ours.token_stream.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(flat(ours(x)), flat(theirs(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('family', TAKE_TOKENS)
def test_strategies_and_checkpointing_agree(family):
    results = {}
    for kind in ('vmap', 'loop', 'fold', 'with_cp'):
        torch.manual_seed(0)
        options = dict(with_cp=True) if kind == 'with_cp' else dict(lane_strategy=kind)
        model = with_tokens(family, **options).eval()
        stir(model, 0.1)
        out = flat(model(torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))))
        out.square().mean().backward()
        unused = set(model.unused_parameter_names())
        grads = {n: p.grad for n, p in model.named_parameters()
                 if p.requires_grad and n not in unused}  # fmt: skip
        assert all(g is not None for g in grads.values()), kind
        results[kind] = out.detach(), grads
    for kind in ('loop', 'fold', 'with_cp'):
        torch.testing.assert_close(results[kind], results['vmap'], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('family', TAKE_TOKENS)
def test_patches_attend_to_tokens_in_every_stage(family):
    model = with_tokens(family).double().eval()  # tiny random networks attend to little
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = model(x)['semseg']
        model.clock.tokens['depth'].mul_(-3.0)  # any task's token is seen by all streams
        after = model(x)['semseg']
    for one, two in zip(before, after, strict=True):
        assert (one - two).abs().max() > 1e-6


def test_training_mode_runs_and_gives_every_used_parameter_a_gradient():
    model = with_tokens('timm Swin')
    stir(model, 0.1)
    model.train()
    flat(model(torch.randn(2, 3, 64, 64))).square().mean().backward()
    unused = set(model.unused_parameter_names())
    assert unused == {f'network.layers.3.blocks.1.mlp.fc2.adapter.{n}' for n in 'AB'}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            moved = parameter.grad is not None and parameter.grad.abs().sum() > 0
            assert moved == (name not in unused), name


def test_without_a_site_the_clock_is_unused_but_its_tokens():
    model = AdapterBackbone(TINY['timm Swin'], tasks=TASKS, clock=dict(tokens='prepend'))
    assert set(model.unused_parameter_names()) == {f'clock.heads.0.{n}' for n in ('W_q', 's', 'c')}
    free = AdapterBackbone(TINY['timm Swin'], tasks=TASKS, clock=dict(tokens='free'))
    assert {f'clock.tokens.{task}' for task in TASKS} <= set(free.unused_parameter_names())


@pytest.mark.parametrize('family', ['timm Swin', 'timm ViT', 'timm ConvNeXt'])
def test_a_kernel_on_the_layers_that_see_the_map(family):
    model = sinewich(family, awb=dict(kernel_size=3)).eval()
    stir(model, 0.1)
    loop = copy.deepcopy(model)
    for lane in loop.lanes.values():
        lane.strategy = 'loop'
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(flat(model(x)), flat(loop(x)), rtol=1e-4, atol=1e-5)


def test_a_kernel_where_there_is_no_map():
    awb = dict(type='SineAWB', rank=2, kernel_size=3)
    plugins = [dict(cfg=awb, targets=['proj'], lanes='task')]
    with pytest.raises(ValueError, match=r"'layers.0.blocks.1.attn.proj'.*see one: fc1, fc2"):
        AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS)


@pytest.mark.parametrize('family', ['timm ConvNeXt', 'timm EfficientNet', 'timm Swin V2'])
def test_tokens_need_a_transformer(family):
    with pytest.raises(ValueError, match="timm Swin, timm ViT.*Use tokens='free'"):
        with_tokens(family)


def test_other_bad_input():
    with pytest.raises(ValueError, match='expected channels=8, got 96'):
        sinewich('timm Swin', clock=dict(tokens='prepend', channels=96))
    with pytest.raises(ValueError, match='set tasks='):
        AdapterBackbone(TINY['timm Swin'], clock=dict())
    with pytest.raises(KeyError, match="no token for task 'normals'"):
        sinewich('timm Swin', clock=dict(tasks=['semseg', 'depth']))
    awb = dict(limit=0.001)
    with pytest.raises(ValueError, match=r"'layers.0.blocks.1.mlp.fc2'.*limit=0.001.*another"):
        sinewich('timm Swin', awb=awb)


# -- merging ---------------------------------------------------------------------------------------


def test_merged_trunk_and_tasks_are_stock_blocks():
    """tokens='free': the trunk loads strictly into timm's network, a lane is a stock block."""
    model = sinewich('timm Swin', tap='pre_merge', awb=dict(kernel_size=None)).eval()
    stir(model, 0.1)
    options = dict(TINY['timm Swin'])
    network = timm.create_model(options.pop('type').split('.', 1)[1], num_classes=0, **options)
    network.load_state_dict(model.merged_state_dict(), strict=True)
    network.eval()
    inputs = {}
    for stage, layer in enumerate(network.layers):
        layer.blocks[-1].register_forward_pre_hook(
            lambda block, args, stage=stage: inputs.setdefault(stage, args[0])
        )
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        network(x)
        levels = model(x)
        for stage, layer in enumerate(network.layers):
            for task in TASKS:
                block = copy.deepcopy(layer.blocks[-1])
                block._forward_pre_hooks.clear()
                adapted = model.network.layers[stage].blocks[-1].mlp.fc2
                block.mlp.fc2.weight.copy_(adapted.adapter.weight(adapted, task))
                out = block(inputs[stage]).permute(0, 3, 1, 2)
                torch.testing.assert_close(levels[task][stage], out, rtol=1e-4, atol=1e-4)
            assert not torch.allclose(levels['semseg'][stage], levels['depth'][stage], atol=1e-3)


def test_a_trunk_that_needs_its_tokens_is_not_merged():
    with pytest.raises(NotMergeableError, match="tokens='free'"):
        with_tokens('timm Swin').merged_state_dict()
