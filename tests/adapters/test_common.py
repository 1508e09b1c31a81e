"""Modules that the adapters of a plugin share across layers."""

import copy

import pytest
import torch
from helpers.backbones import TASKS, TINY
from torch import nn

from mtpeft.adapters import Adapter, CommonModule, SharesAcrossLayers, adapt_layer
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import ADAPTERS


class Scale(CommonModule):
    component = 'scale'

    def __init__(self, tasks, start):
        super().__init__(tasks)
        self.factor = nn.Parameter(torch.tensor(float(start)))
        self.widths = []

    def add_site(self, layer, name='', block=''):
        self.widths.append(layer.weight.shape[0])
        return super().add_site(layer, name, block)


class Scaled(SharesAcrossLayers, Adapter):
    """y = (W0 x + b) factor, with one factor for all layers."""

    @classmethod
    def make_common(cls, cfg, tasks):
        return Scale(tasks, cfg.get('start', 1))

    def __init__(self, layer, tasks=(), start=1, common=None, site=None):
        super().__init__(layer, tasks)
        self.join(layer, common, site, dict(start=start))

    def shared_and_memory(self, layer, x):
        return layer.frozen(x) * self.common.factor, None


@pytest.fixture(autouse=True)
def registered():
    ADAPTERS.register_module(module=Scaled)
    yield
    del ADAPTERS.module_dict['Scaled']


def backbone(starts=(2, 3)):
    targets = ['qkv', 'proj'], ['fc1']
    plugins = [
        dict(cfg=dict(type='Scaled', start=s), targets=t)
        for s, t in zip(starts, targets, strict=True)
    ]
    plugins.insert(1, dict(cfg=dict(type='LoRA', rank=2), targets=['fc2']))
    return AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS)


def test_alone_an_adapter_has_its_own():
    layer = adapt_layer(nn.Linear(4, 3), dict(type='Scaled', start=5))
    assert list(layer.adapter.state_dict()) == ['own_common.factor']
    assert layer.adapter.base_parameters == {'scale': ['own_common.factor']}
    x = torch.randn(2, 4)
    expected = 5 * nn.functional.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_the_layers_of_one_plugin_share_one_module_and_others_do_not():
    model = backbone()
    first, second = model.commons['0'], model.commons['2']
    assert list(model.commons) == ['0', '2']
    layers = model.adapter_layers()
    for name, layer in layers.items():
        if name.endswith(('qkv', 'proj')):
            assert layer.adapter.common is first
        elif name.endswith('fc1'):
            assert layer.adapter.common is second
    assert (float(first.factor), float(second.factor)) == (2, 3)


def test_sites_know_their_layer_and_block():
    model = backbone()
    common = model.commons['0']
    for name, layer in model.adapter_layers().items():
        if not name.endswith(('qkv', 'proj')):
            continue
        site = common.sites[layer.adapter.site]
        assert site.name == name
        assert (site.block, site.position) == tuple(name.rsplit('.attn.', 1)[:1]) + (
            'attn.' + name.rsplit('.', 1)[1],
        )
        assert common.widths[layer.adapter.site] == layer.weight.shape[0]
    assert len(common.sites) == 2 * 8


def test_it_is_counted_once_trained_and_saved_once():
    model = backbone()
    components = model.parameter_components()
    assert components['scale'] == ['commons.0.factor', 'commons.2.factor']
    names = [n for group in components.values() for n in group]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())
    assert [k for k in model.state_dict() if 'factor' in k] == components['scale']
    assert not set(components['scale']) & model.frozen_state_keys()
    levels = model(torch.randn(1, 3, 64, 64))
    levels['depth'][-1].square().mean().backward()
    for name in components['scale']:
        assert model.get_parameter(name).grad.abs() > 0


def test_a_copy_of_the_backbone_shares_its_own_module():
    model = backbone()
    other = copy.deepcopy(model)
    for layer in other.adapter_layers().values():
        if isinstance(layer.adapter, Scaled):
            assert layer.adapter.common in list(other.commons.values())
            assert layer.adapter.common not in list(model.commons.values())


def test_loading_changes_all_layers():
    model, other = backbone().eval(), backbone((7, 8)).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other(x)['depth'], model(x)['depth'])


def test_the_clock_is_one_module_for_all_plugins():
    awb = dict(type='SineAWB', rank=2, kernel_size=None)
    plugins = [dict(cfg=awb, targets=[t], lanes='task') for t in ('fc1', 'fc2')]
    plugins.append(dict(cfg=dict(type='Scaled'), targets=['qkv']))
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS)
    assert isinstance(model.clock, CommonModule) and list(model.commons) == ['2']
    sites = {n: la.adapter for n, la in model.adapter_layers().items() if la.adapter.tasks}
    assert [site.name for site in model.clock.sites] == list(sites)
    for name, adapter in sites.items():
        assert adapter.common is adapter.clock is model.clock
        assert model.clock.sites[adapter.site] == (name, name.rpartition('.mlp')[0])
    keys = [key for key in model.state_dict() if '.heads.' in key]
    assert keys and all(key.startswith('clock.heads.0.') for key in keys)


def test_one_given_in_the_options_is_taken():
    common = Scale((), 9)
    plugins = [dict(cfg=dict(type='Scaled', common=common), targets=['qkv'])]
    model = AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS)
    assert not model.commons
    assert all(la.adapter.common is common for la in model.adapter_layers().values())
    assert len(common.sites) == len(model.adapted)
