"""One model serves several threads, and passes within passes: a pass carries its own state."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.adapter_grid import label, methods, stir
from helpers.backbones import TASKS, TINY, tiny
from torch import nn

from mtpeft.models.backbones import AdapterBackbone, TADFormerBackbone

EQUAL = [(64, 64)] * 4
DIFFERENT = [(64, 96), (128, 64), (96, 96), (224, 64)]
sizes = pytest.mark.parametrize('sizes', [EQUAL, DIFFERENT], ids=['one size', 'four sizes'])
merged = pytest.mark.parametrize('merged', [False, True], ids=['lanes', 'merged'])
TOKENS = dict(type='SineAWB', rank=2, kernel_size=None)
KERNEL = dict(type='SineAWB', rank=2)


def flat(levels):
    return [x for task in TASKS for x in levels[task]]


def meeting(model, count):
    """Let ``count`` passes meet ahead of every adapted layer, so that each runs amid the others."""
    barrier = threading.Barrier(count)

    def wait(*_):
        barrier.wait(timeout=60)

    for layer in model.adapter_layers().values():
        layer.register_forward_pre_hook(wait)
    return barrier


def check(model, sizes, with_grad=False):
    """The levels of each picture are those that one thread alone gives."""
    pictures = [torch.randn(1, 3, *size, generator=torch.manual_seed(i))
                for i, size in enumerate(sizes)]  # fmt: skip
    with torch.no_grad():
        expected = [flat(model(x)) for x in pictures]
    barrier = meeting(model, len(pictures))

    def run(x):
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                return flat(model(x))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(len(pictures)) as pool:
        found = list(pool.map(run, pictures))
    for ours, alone in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-5)


def ready(model, merged):
    stir(model)
    model.eval()
    if merged:
        model.merge_adapters()
    return model


@sizes
@merged
@pytest.mark.parametrize('family', TINY)
def test_every_family(family, merged, sizes):
    check(ready(tiny(family, dict(type='LoRA', rank=2)), merged), sizes)


@merged
@pytest.mark.parametrize('method', methods(), ids=label)
def test_every_method(method, merged):
    model = tiny('timm Swin' if method['type'] != 'TADFormer' else 'timm EfficientNet', method)
    check(ready(model, merged), DIFFERENT)


def tadformer():
    method = dict(type='TADFormer', rank=2)
    plugins = [
        dict(cfg=method, targets=['qkv']),
        dict(cfg=method, targets=['proj', 'fc1', 'fc2'], lanes='task'),
    ]
    return TADFormerBackbone(TINY['timm Swin'], plugins, TASKS)


def beside(family, target, **options):
    plugins = [dict(cfg=KERNEL, targets=[target], lanes='task')]
    return AdapterBackbone(TINY[family], plugins, TASKS, **options)


OTHERS = dict(
    tadformer=tadformer,
    prompts=lambda: tiny('timm Swin', prompts=dict(number=2)),
    deep_prompts=lambda: tiny('timm ViT', prompts=dict(number=2, deep=True)),
    tokens=lambda: tiny('mmseg Swin', TOKENS, clock=dict(tokens='prepend')),
    token_sequence=lambda: tiny('timm ViT', TOKENS, clock=dict(tokens='prepend')),
    kernel_on_tokens=lambda: beside('timm ViT', 'fc2'),
    kernel_beside_blocks=lambda: beside('mmseg Swin', 'block'),
    task_streams=lambda: tiny('timm Swin', streams='network'),
    folded=lambda: tiny('timm Swin', lane_strategy='fold'),
    looped=lambda: tiny('timm ViT', lane_strategy='loop'),
)


@sizes
@pytest.mark.parametrize('kind', OTHERS)
def test_tokens_kernels_and_strategies(kind, sizes):
    torch.manual_seed(0)
    check(ready(OTHERS[kind](), False), sizes)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('kind', ['tokens', 'kernel_on_tokens', 'folded', 'tadformer'])
def test_a_pass_within_a_pass(kind, with_cp):
    """A hook within a block runs another model of the same kind, and this one, on other sizes."""
    torch.manual_seed(0)
    model, other = ready(OTHERS[kind](), False), ready(OTHERS[kind](), False)
    model.streams.with_cp = with_cp
    x, small = torch.randn(1, 3, 96, 64), torch.randn(1, 3, 64, 64)
    trained = [p for p in model.parameters() if p.requires_grad]

    def outcome():
        levels = flat(model(x))
        total = sum(level.square().mean() for level in levels)
        grads = torch.autograd.grad(total, trained, allow_unused=True)
        return levels, [torch.zeros(()) if g is None else g for g in grads]

    expected = outcome()
    seen = []

    def nested(*_):
        if seen and seen[-1] == 'runs':
            return
        seen.append('runs')
        with torch.no_grad():
            seen[-1:] = [flat(other(small)), 'runs', flat(model(small))]

    for lane in model.lanes.values():
        lane.block.register_forward_hook(nested)
    found = outcome()
    assert seen
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_bare_layer_within_a_pass_is_not_carried():
    """A layer of no block that runs within a lane block's pass passes its own adapter."""
    model, other = ready(tiny('timm Swin'), False), ready(tiny('timm Swin'), False)
    name, layer = list(other.adapter_layers().items())[-1]
    x = torch.randn(2, layer.in_features)
    expected, found = layer(x).detach(), []
    model.network.get_submodule(name).register_forward_hook(
        lambda *_: found.append(layer(x).detach())
    )
    model(torch.randn(1, 3, 64, 64))
    assert found and all(torch.equal(each, expected) for each in found)
    assert isinstance(layer, nn.Linear)
