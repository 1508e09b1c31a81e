"""Visual prompts, shallow and deep, against transformers written out."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import FIRST, MLP, TINY, wake
from helpers.windows import block_by_windows
from torch import nn

from mtpeft.adapters import NotMergeableError
from mtpeft.adapters.lanes.current import within
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth', 'normals')
TAKE_PROMPTS = ['timm Swin', 'mmseg Swin', 'timm ViT']
families = pytest.mark.parametrize('family', TAKE_PROMPTS)
depths = pytest.mark.parametrize('deep', [False, True], ids=['shallow', 'deep'])


def prompted(family, deep, number=3, **options):
    """A tiny frozen backbone with prompts that count."""
    torch.manual_seed(0)
    model = AdapterBackbone(TINY[family], prompts=dict(number=number, deep=deep), **options)
    wake(model.network)
    with torch.no_grad():
        for prompts in model.token_stream.prompts:
            prompts.normal_()
    return model


def with_lanes(family, deep, **options):
    """MTLoRA in the same backbone."""
    adapter = dict(type='MTLoRA', rank=2, task_rank=1)
    plugins = [
        dict(cfg=adapter, targets=FIRST[family]),
        dict(cfg=adapter, targets=MLP[family], lanes='task'),
    ]
    return prompted(family, deep, plugins=plugins, tasks=TASKS, **options)


def flat(levels):
    levels = levels if isinstance(levels, tuple) else [x for task in levels for x in levels[task]]
    return torch.cat([x.flatten() for x in levels])


# -- what they are ---------------------------------------------------------------------------------


@depths
def test_a_vit_written_out(deep):
    """timm's own blocks on (class token, prompts, patches); outputs of deep prompts are dropped."""
    model = prompted('timm ViT', deep).eval()
    network, prompts = model.network, model.token_stream.prompts
    picture = torch.randn(2, 3, 64, 96)
    expected = []
    with torch.no_grad():
        x = network._pos_embed(network.patch_embed(picture))
        first, own, patches = x[:, :1], prompts[0][0].expand(2, -1, -1), x[:, 1:]
        for index, block in enumerate(network.blocks):  # four blocks, each a level
            if deep:
                own = prompts[index][0].expand(2, -1, -1)
            x = block(torch.cat([first, own, patches], 1))
            first, own, patches = x[:, :1], x[:, 1:4], x[:, 4:]
            expected.append(patches.transpose(1, 2).unflatten(2, (4, 6)))
        levels = model(picture)
    for found, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@depths
def test_a_swin_written_out(deep):
    """Loops over windows; at a merging a shallow prompt is four times the same patch."""
    model = prompted('timm Swin', deep).eval()
    network, prompts = model.network, model.token_stream.prompts
    for layer in network.layers:
        for block in layer.blocks:
            nn.init.normal_(block.attn.relative_position_bias_table)
    picture = torch.randn(2, 3, 224, 224)
    expected = []
    with torch.no_grad():
        levels = model(picture)
        x, own = network.patch_embed(picture), prompts[0][0].expand(2, -1, -1)
        for stage, layer in enumerate(network.layers):
            if stage:
                x = layer.downsample(x)
                same = torch.cat([own] * 4, -1)
                own = layer.downsample.reduction(layer.downsample.norm(same))
            for index, block in enumerate(layer.blocks):
                if deep:
                    own = prompts[stage][index].expand(2, -1, -1)
                with within(size=tuple(x.shape[1:3])):
                    x, own = block_by_windows(block, x, own)
            expected.append(x.permute(0, 3, 1, 2))
    for found, wanted in zip(levels, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@depths
def test_timm_and_mmseg_agree_on_prompts(deep):
    from mtpeft.models.backbones.swin_keys import timm_to_mmseg_swin

    ours, theirs = (
        prompted(family, deep, tap='post_merge').eval() for family in ('timm Swin', 'mmseg Swin')
    )
    weights = timm_to_mmseg_swin(dict(ours.network.state_dict()))
    theirs.network.load_state_dict(weights, strict=False)
    theirs.token_stream.load_state_dict(ours.token_stream.state_dict())
    picture = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(flat(ours(picture)), flat(theirs(picture)), rtol=1e-4, atol=1e-4)


@families
def test_shapes_and_start(family):
    model = AdapterBackbone(TINY[family], prompts=dict(number=5))
    patch, width = (16, 24) if family == 'timm ViT' else (4, 8)
    bound = (6 / (3 * patch * patch + width)) ** 0.5
    assert [tuple(p.shape) for p in model.token_stream.prompts] == [(1, 5, width)]
    model = AdapterBackbone(TINY[family], prompts=dict(number=500, deep=True))
    widths = [24] * 4 if family == 'timm ViT' else [8, 16, 32, 64]
    blocks = 1 if family == 'timm ViT' else 2
    shapes = [(blocks, 500, width) for width in widths]
    assert [tuple(p.shape) for p in model.token_stream.prompts] == shapes
    for prompts in model.token_stream.prompts:
        assert 0.97 * bound < prompts.abs().max() <= bound
        assert prompts.mean().abs() < 0.05 * bound
    keys = {k for k in model.state_dict() if not k.startswith('network.')}
    assert keys == {f'token_stream.prompts.{i}' for i in range(4)}


# -- what is trained -------------------------------------------------------------------------------


@depths
@families
def test_every_prompt_is_trained_and_nothing_else(family, deep):
    model = prompted(family, deep, tasks=TASKS)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith('token_stream.prompts.') for name in trained)
    assert model.unused_parameter_names() == []
    assert model.parameter_components()['prompts'] == list(trained)
    levels = model.train()(torch.randn(2, 3, 64, 64))
    assert levels.keys() == set(TASKS)
    flat(levels).square().mean().backward()
    for name, prompts in trained.items():
        assert (prompts.grad.abs().sum(-1) > 0).all(), name
    others = [p for n, p in model.named_parameters() if n not in trained]
    assert all(p.grad is None for p in others)


@depths
@families
def test_a_state_dict_has_them(family, deep):
    model, other = prompted(family, deep).eval(), prompted(family, deep).eval()
    with torch.no_grad():
        for prompts in other.token_stream.prompts:
            prompts.zero_()
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(model(picture)[-1], other(picture)[-1])
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(flat(model(picture)), flat(other(picture)))


@families
def test_the_last_level_feels_each_deep_prompt(family):
    model = prompted(family, True).double().eval()  # tiny random networks attend to little
    picture = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = model(picture)
        for stage, prompts in enumerate(model.token_stream.prompts):
            for index in range(len(prompts)):
                kept = prompts[index].clone()
                prompts[index] *= -2
                after = model(picture)
                prompts[index] = kept
                same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
                assert same == [i < stage for i in range(4)]


# -- with lanes ------------------------------------------------------------------------------------


@depths
@families
def test_strategies_and_checkpointing_agree(family, deep):
    results = {}
    for kind in ('vmap', 'loop', 'fold', 'with_cp'):
        options = dict(with_cp=True) if kind == 'with_cp' else dict(lane_strategy=kind)
        model = with_lanes(family, deep, **options).eval()
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


@families
def test_a_clock_beside_the_network_is_no_obstacle(family):
    plugins = [dict(cfg=dict(type='SineAWB', rank=2), targets=MLP[family][-1:], lanes='task')]
    model = prompted(family, True, plugins=plugins, tasks=TASKS, clock=dict(tokens='free')).train()
    stir(model, 0.1)
    flat(model(torch.randn(2, 3, 64, 64))).square().mean().backward()
    unused = set(model.unused_parameter_names())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in unused:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('family', ['timm ConvNeXt', 'timm EfficientNet', 'mmseg ResNet'])
def test_prompts_need_a_transformer(family):
    names = 'timm Swin, timm ViT, mmseg SwinTransformer'
    with pytest.raises(ValueError, match=rf'prompts need a transformer.*\({names}\), got'):
        AdapterBackbone(TINY[family], prompts=dict(number=2))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(number=0), 'expected number to be a positive integer, got 0'),
        (dict(number=True), 'got True'),
        (dict(deep='yes'), "expected deep to be True or False, got 'yes'"),
        (dict(nummer=2), "no option 'nummer'.*number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        AdapterBackbone(TINY['timm ViT'], prompts=options)


def test_prompts_and_task_tokens_are_one_too_many():
    with pytest.raises(ValueError, match="one kind: use clock=dict\\(tokens='free'\\)"):
        AdapterBackbone(TINY['timm ViT'], prompts=dict(number=2), tasks=TASKS,
                        clock=dict(tokens='prepend'))  # fmt: skip


def test_streams_of_tasks_through_the_network_have_none():
    plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'], lanes='task')]
    with pytest.raises(ValueError, match="Tokens and prompts.*Use streams='stage'"):
        AdapterBackbone(TINY['timm ViT'], prompts=dict(number=2), plugins=plugins, tasks=TASKS,
                        streams='network')  # fmt: skip


def test_a_network_that_needs_its_prompts_is_not_merged():
    with pytest.raises(NotMergeableError, match='no prompts'):
        prompted('timm ViT', False).merged_state_dict()
