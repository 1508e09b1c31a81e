"""BitFit: all biases that the features read are trained, and nothing else of the network."""

import pytest
import torch
from helpers.backbones import FIRST, TINY, wake
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import MODELS

TAPS = pytest.mark.parametrize('tap', ['pre_merge', 'post_merge'])


def biases(network):
    """Biases by what the modules are: whatever is added behind a product or a norm."""
    names = set()
    for path, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, nn.MultiheadAttention):
            kinds = ['in_proj_bias']
        elif 'q_bias' in own:  # timm's Swin V2 has no bias of keys
            kinds = ['q_bias', 'v_bias']
        else:
            kinds = ['bias']
        names |= {f'{path}.{kind}' for kind in kinds if own.get(kind) is not None}
    return names


def backward(model):
    for parameter in model.parameters():
        parameter.grad = None
    levels = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    sum(level.square().mean() for level in levels).backward()


@TAPS
@pytest.mark.parametrize('family', TINY)
def test_exactly_the_biases_with_an_effect_are_trained(family, tap):
    torch.manual_seed(0)
    model = AdapterBackbone(TINY[family], train_also=['biases'], tap=tap).eval()
    wake(model.network)
    network = model.network
    trained = {n for n, p in network.named_parameters() if p.requires_grad}
    wanted = biases(network)
    assert trained <= wanted
    for name in wanted:
        network.get_parameter(name).requires_grad_(True)
    backward(model)
    moved = {n for n in wanted if network.get_parameter(n).grad is not None}
    assert trained == moved
    for name in trained:
        assert network.get_parameter(name).grad.abs().sum() > 0, name


def test_the_fused_bias_of_queries_and_values_moves():
    """A bias of keys shifts all scores of a query alike, so softmax takes no notice of it."""
    model = AdapterBackbone(TINY['timm Swin'], train_also=['biases']).eval()
    backward(model)
    q, k, v = model.network.layers[0].blocks[0].attn.qkv.bias.grad.chunk(3)
    assert q.abs().max() > 0 and v.abs().max() > 0
    assert k.abs().max() < 1e-6 * v.abs().max()


def test_biases_of_adapted_layers_are_trained_too():
    plugins = [dict(cfg=dict(type='LoRA', rank=2), targets=FIRST['timm Swin'])]
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, train_also=['biases'])
    layer = model.network.layers[0].blocks[0].attn.qkv
    assert layer.bias.requires_grad and not layer.weight.requires_grad


def test_any_other_network_has_biases():
    model = AdapterBackbone(dict(type='timm.resnet18'), train_also=['biases'])
    trained = {n for n, p in model.network.named_parameters() if p.requires_grad}
    assert trained and all(name.endswith('bias') for name in trained)


def test_a_wrong_name_is_answered_with_the_group():
    with pytest.raises(ValueError, match="train_also: 'biasses' matches no parameter.*biases"):
        AdapterBackbone(TINY['timm Swin'], train_also=['biasses'])


@pytest.mark.parametrize('data', ['swin-t_pascal', 'swin-pico_scenes', 'efficientnet-lite2_nyud'])
def test_the_configs_train_biases_and_the_decoder(data, pytestconfig):
    cfg = Config.fromfile(pytestconfig.rootpath / f'configs/bitfit/bitfit_{data}.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    decoder = {n for n, _ in model.named_parameters() if not n.startswith('backbone.')}
    unread = ('norm.', 'head.', *model.backbone.family.unread)
    assert trained - decoder == {
        f'backbone.network.{n}' for n in biases(model.backbone.network) if not n.startswith(unread)
    }
    assert decoder <= trained
