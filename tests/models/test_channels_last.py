"""Channels last in memory: the same logits, losses, gradients and merged weights."""

import copy

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import FIRST, MLP, TINY
from models.tiny_models import random_samples

from mtpeft.models import MultiTaskModel

METHODS = {
    'LoRA': dict(type='LoRA', rank=2),
    'MTLoRA': dict(type='MTLoRA', rank=2, task_rank=2),
    'DoRA': dict(type='DoRA', rank=2),
    'SineAWB': dict(type='SineAWB', rank=2, kernel_size=None),
    'DiTASK': dict(type='DiTASK', init='zero', cells=4),
    'Polyhistor': dict(type='Polyhistor', width=3, embedding=4, hidden=8, rank=2),
}
TASKS = dict(semseg=dict(num_classes=5), normals=dict(), depth=dict())


def build(family, method, channels_last, decoder):
    torch.manual_seed(0)
    model = MultiTaskModel(
        tasks=TASKS,
        backbone=dict(
            type='AdapterBackbone', backbone=TINY[family],
            plugins=[dict(cfg=METHODS[method], targets=FIRST[family]),
                     dict(cfg=METHODS[method], targets=MLP[family], lanes='task')],
        ),
        necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4)), dict(type='TSPD')],
        decoder=decoder, channels_last=channels_last, img_size=(50, 64),
    )  # fmt: skip
    stir(model, 0.05)
    return model.double().eval()


def step(model, x, samples):
    losses = model(x, samples, mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    return losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('family', ['timm EfficientNet', 'mmseg ResNet', 'timm Swin'])
@pytest.mark.parametrize('method', METHODS)
def test_it_changes_nothing_but_strides(family, method):
    decoder = dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8))
    if method == 'SineAWB':
        decoder = dict(type='SharedBaseDecoder', channels=8)
    plain, last = (build(family, method, flag, decoder) for flag in (False, True))
    last.load_state_dict(copy.deepcopy(plain.state_dict()), strict=True)
    kernels = [p for p in last.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
    assert kernels and all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    x = torch.randn(2, 3, 50, 64, dtype=torch.float64)
    samples = random_samples([(50, 64)] * 2, TASKS)
    for found, expected in zip(step(last, x, samples), step(plain, x, samples), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    with torch.no_grad():
        expected = plain(x)
        torch.testing.assert_close(last(x), expected, rtol=1e-6, atol=1e-6)
        last.merge_adapters()
        torch.testing.assert_close(last(x), expected, rtol=1e-5, atol=1e-5)


def test_the_network_sees_it():
    decoder = dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8))
    model, seen = build('timm EfficientNet', 'LoRA', True, decoder), []
    first = model.backbone.network.conv_stem
    first.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))
    model(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
