"""Patch merging and projection of a lane as one product: the same function, fewer operations."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY
from torch.utils.flop_counter import FlopCounterMode

from mtpeft.models import MultiTaskModel
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.necks import ProjectionNeck
from mtpeft.structures.levels import Unreduced

TASKS = ('sal', 'depth')
LANES = ['proj', 'fc1', 'fc2']
PLUGINS = {
    'trained reduction': [dict(cfg=dict(type='MTLoRA', rank=2), targets=LANES, lanes='task')],
    'frozen reduction': [dict(cfg=dict(type='LoRA', rank=2), targets=LANES, lanes='task')],
    **{
        f'{kind} on it': [
            dict(cfg=dict(type=kind, rank=2), targets=['reduction']),
            dict(cfg=dict(type='LoRA', rank=2), targets=LANES, lanes='task'),
        ]
        for kind in ('LoRA', 'DoRA', 'AdaLoRA', 'SineLoRA', 'MTLoRA', 'SineAWB')
    },
}


def build(family='timm Swin', plugins='trained reduction', **options):
    torch.manual_seed(0)
    train_also = ['block_norms', *(['reduction'] if plugins == 'trained reduction' else [])]
    backbone = dict(
        type='AdapterBackbone', backbone=TINY[family], plugins=PLUGINS[plugins],
        train_also=train_also, **options,
    )  # fmt: skip
    model = MultiTaskModel(
        tasks=list(TASKS), backbone=backbone,
        necks=[dict(type='ProjectionNeck', out_channels=(2, 3, 4, 5))],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    )  # fmt: skip
    stir(model.eval(), 0.1)
    return model


def results(model, x):
    model.zero_grad()
    logits = model(x)
    sum((value * value.detach().cos()).sum() for value in logits.values()).backward()
    return logits, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def apart(monkeypatch):
    """Call it to pass both maps one after the other."""
    return lambda: monkeypatch.setattr(ProjectionNeck, 'takes_unreduced', False)


@pytest.mark.parametrize('plugins', PLUGINS)
@pytest.mark.parametrize('family', ['timm Swin', 'mmseg Swin', 'timm Swin V2'])
def test_outputs_and_gradients_are_those_of_both_maps(family, plugins, apart):
    size = [(70, 90), (64, 64)][list(PLUGINS).index(plugins) % 2]
    model, x = build(family, plugins).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    joined = results(model, x)
    apart()
    torch.testing.assert_close(joined, results(model, x), rtol=1e-6, atol=1e-8)


def operations(model, x):
    with FlopCounterMode(display=False) as counter:
        results(model, x)
    return counter.get_total_flops()


def test_it_takes_fewer_operations(apart):
    model, x = build(), torch.randn(1, 3, 64, 64)
    joined = operations(model, x)
    apart()
    saved = operations(model, x) - joined
    # a merging to 2 C of 4 C at (side / 2)^2 places, in three passes for each task and merging
    width, side, wide = TINY['timm Swin']['embed_dim'], 16, 0
    for stage in range(3):
        wide += 3 * 2 * len(TASKS) * (side // 2**stage // 2) ** 2 * 8 * (width * 2**stage) ** 2
    assert 0.5 * wide < saved < wide


def test_dropout_on_the_reduction_keeps_the_maps_apart():
    model = build(plugins='LoRA on it')
    for layer in model.backbone.adapter_layers().values():
        layer.adapter.dropout.p = 0.5
    x = torch.randn(1, 3, 64, 64)
    kinds = []
    for training in (False, True):
        levels = model.train(training).backbone(x, unreduced=True)['sal']
        kinds.append([isinstance(level, Unreduced) for level in levels])
    assert kinds == [[True, True, True, False], [False] * 4]


def test_masks_of_ranks_count(apart):
    model, x = build(plugins='DoRA on it').train(), torch.randn(1, 3, 64, 64)
    for module in model.modules():
        if hasattr(module, 'drop_prob'):
            module.drop_prob = 0.0
    for layer in model.backbone.adapter_layers().values():
        for group in layer.adapter.groups.values():
            group.prefix = torch.ones(len(group.streams), dtype=torch.long)
    joined = {n: v.detach() for n, v in model(x).items()}
    apart()
    torch.testing.assert_close(joined, model(x), rtol=1e-3, atol=1e-3)


def test_a_backbone_alone_gives_tensors():
    backbone = build().backbone
    assert isinstance(backbone, AdapterBackbone)
    for levels in backbone(torch.randn(1, 3, 64, 64)).values():
        assert all(isinstance(level, torch.Tensor) and level.ndim == 4 for level in levels)


def test_half_precision(apart):
    model, x = build(), torch.randn(1, 3, 64, 64)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        joined = model(x)
        apart()
        expected = model(x)
    for task in TASKS:
        torch.testing.assert_close(joined[task], expected[task], rtol=0.05, atol=0.05)


@pytest.mark.parametrize('number', [2, 400])
def test_what_takes_fewer_operations_is_done(number):
    level = Unreduced(torch.randn(1, 1, number, 16), torch.randn(8, 16))
    weight = torch.randn(6, 8, 1, 1)
    with FlopCounterMode(display=False) as counter:
        out = level.projected(weight)
    joined, apart = 6 * 16 * (8 + number), number * 8 * (16 + 6)
    assert (joined < apart) == (number == 400)
    assert counter.get_total_flops() == 2 * min(joined, apart)
    expected = torch.einsum('oi,ik,bhwk->bohw', weight[..., 0, 0], level.weight, level.rows)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_the_joined_weight_is_made_once_at_inference():
    neck = ProjectionNeck(in_channels=(16,), tasks=['sal'], out_channels=(2,)).eval()
    weight = torch.nn.Parameter(torch.randn(16, 32))
    levels = {'sal': (Unreduced(torch.randn(2, 40, 40, 32), weight),)}

    def expected():
        return torch.nn.functional.conv2d(
            (levels['sal'][0].rows @ weight.T).permute(0, 3, 1, 2), neck.proj['sal'][0].weight
        )

    with torch.no_grad():
        for change in (lambda: None, lambda: weight.add_(1),
                       lambda: neck.proj['sal'][0].weight.mul_(2)):  # fmt: skip
            change()  # made anew
            for _ in range(2):
                torch.testing.assert_close(neck(levels)['sal'][0], expected())
            (kept,) = (value[2] for value in neck._formed.values())
            neck(levels)
            assert next(iter(neck._formed.values()))[2] is kept
    assert neck(levels)['sal'][0].requires_grad
