"""A pyramid of equal levels, against resizing one level at a time."""

import pytest
import torch
from helpers.backbones import TINY

from mtpeft.models import RescaleNeck
from mtpeft.registry import MODELS


def test_scales_of_each_level():
    neck = RescaleNeck((4, 4, 4, 4), tasks=['sal', 'depth'])
    levels = tuple(torch.rand(2, 4, 6, 8) for _ in range(4))
    out = neck(levels)
    assert list(out) == ['sal', 'depth']
    assert [tuple(x.shape[2:]) for x in out['sal']] == [(24, 32), (12, 16), (6, 8), (3, 4)]
    assert torch.equal(out['sal'][2], levels[2])
    halves = levels[3].unflatten(2, (3, 2)).unflatten(4, (4, 2)).mean((3, 5))
    torch.testing.assert_close(out['sal'][3], halves)
    flat = neck(tuple(torch.full((1, 4, 6, 8), 2.0) for _ in range(4)))['sal']
    assert all(torch.allclose(x, torch.tensor(2.0)) for x in flat)


def test_vit_with_a_pyramid_trains():
    model = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=['sal', 'depth'],
            backbone=dict(
                type='AdapterBackbone',
                backbone=TINY['timm ViT'],
                plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'], lanes='task')],
            ),
            necks=[
                dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4)),
                dict(type='RescaleNeck'),
            ],
            decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead')),
        )
    )
    logits = model(torch.randn(2, 3, 48, 64))
    assert {n: tuple(x.shape) for n, x in logits.items()} == {
        'sal': (2, 1, 48, 64), 'depth': (2, 1, 48, 64)
    }  # fmt: skip
    sum(x.square().mean() for x in logits.values()).backward()
    lanes = [p for n, p in model.named_parameters() if 'task_B' in n]
    assert lanes and all(p.grad is not None and p.grad.any() for p in lanes)


def test_wrong_scales_are_named():
    with pytest.raises(ValueError, match='Expected 2 positive scales'):
        RescaleNeck((4, 4), tasks=['sal'], scales=(1, 2, 3))
