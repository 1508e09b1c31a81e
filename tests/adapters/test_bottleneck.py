"""Bottleneck adapters against torch's own layers, written out."""

import copy

import pytest
import torch
from helpers.adapter_grid import LAYERS, stir
from helpers.backbones import TINY
from torch import nn

from mtpeft.adapters import BottleneckAdapter, LaneBlock, NotMergeableError, adapt_layer
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth')
ACTIVATIONS = dict(gelu=nn.GELU(), relu=nn.ReLU(), silu=nn.SiLU(), tanh=nn.Tanh())


def reference(h, down, up, down_bias=None, up_bias=None, activation='gelu', scale=1.0, conv=False):
    """h + s up(a(down(h))) with layers of torch that hold these weights."""
    kind = (lambda i, o, bias: nn.Conv2d(i, o, 1, bias=bias)) if conv else nn.Linear
    layers = []
    for weight, bias in ((down, down_bias), (up, up_bias)):
        layer = kind(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight = nn.Parameter(weight[:, :, None, None] if conv else weight)
        if bias is not None:
            layer.bias = nn.Parameter(bias)
        layers.append(layer)
    with torch.no_grad():
        return h + scale * nn.Sequential(layers[0], ACTIVATIONS[activation], layers[1])(h)


@pytest.mark.parametrize('kind', LAYERS)
@pytest.mark.parametrize(
    'options', [dict(activation='relu', scale=0.5), dict(activation='silu', bias=False), dict()]
)
def test_the_formula_on_shared_stream_and_lanes(kind, options):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    original, x = build(), torch.randn(shape)
    layer = adapt_layer(copy.deepcopy(original), dict(type='BottleneckAdapter', width=4, **options),
                        TASKS)  # fmt: skip
    stir(layer)
    conv = isinstance(original, nn.Conv2d)
    h = original(x).detach()
    names = ['down', 'up'] + ['down_bias', 'up_bias'] * options.get('bias', True)
    others = {k: v for k, v in options.items() if k != 'bias'}
    own = {n: getattr(layer.adapter, n).detach() for n in names}
    torch.testing.assert_close(layer(x), reference(h, **own, **others, conv=conv))
    block = LaneBlock(nn.Sequential(layer), TASKS, lambda b, x: b(x))
    _, lanes = block(x)
    for index, lane in enumerate(lanes):
        own = {n: getattr(layer.adapter, f'task_{n}')[index].detach() for n in names}
        torch.testing.assert_close(lane, reference(h, **own, **others, conv=conv))


def test_widths():
    layer = nn.Linear(4, 20)
    assert BottleneckAdapter(layer).width == 2  # 20 / 8, rounded
    assert BottleneckAdapter(layer, reduction=4).width == 5
    assert BottleneckAdapter(layer, reduction=1000).width == 1
    assert BottleneckAdapter(layer, width=64).width == 64  # wider than the layer is allowed


def test_a_transformer_meets_it_before_the_residual():
    """After attention and after the MLP: timm's block written out, with both adapters."""
    torch.manual_seed(0)
    plugins = [dict(cfg=dict(type='BottleneckAdapter', width=3), targets=['proj', 'fc2'])]
    backbone = AdapterBackbone(TINY['timm ViT'], plugins=plugins).eval()
    stir(backbone)
    block = backbone.network.blocks[1]
    plain = copy.deepcopy(block)
    for name in ('attn.proj', 'mlp.fc2'):
        parent, _, attribute = name.rpartition('.')
        old = block.get_submodule(name)
        new = nn.Linear(old.in_features, old.out_features)
        new.load_state_dict({k: v for k, v in old.state_dict().items() if 'adapter' not in k})
        setattr(plain.get_submodule(parent), attribute, new)
    first, second = block.attn.proj.adapter, block.mlp.fc2.adapter
    names = 'down', 'up', 'down_bias', 'up_bias'
    x = torch.randn(2, 9, 24)
    with torch.no_grad():
        after = reference(plain.attn(plain.norm1(x)), **{n: getattr(first, n) for n in names})
        y = x + after
        y = y + reference(plain.mlp(plain.norm2(y)), **{n: getattr(second, n) for n in names})
        torch.testing.assert_close(block(x), y)


def test_a_network_with_it_cannot_be_merged():
    plugins = [dict(cfg=dict(type='BottleneckAdapter', width=3), targets=['fc2'])]
    backbone = AdapterBackbone(TINY['timm ViT'], plugins=plugins)
    with pytest.raises(NotMergeableError, match='BottleneckAdapter is a nonlinear layer'):
        backbone.merged_state_dict()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(width=0), 'expected width to be a positive integer, got 0'),
        (dict(width=True), 'got True'),
        (dict(reduction=0), 'expected reduction to be positive, got 0'),
        (dict(width=2, reduction=2), 'got both'),
        (dict(activation='geelu'), "activation='geelu' is unknown.*gelu"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        BottleneckAdapter(nn.Linear(6, 4), **options)
