"""Plugins as a config writes them, and as they are read."""

import copy
import dataclasses

import pytest
import torch
from helpers.backbones import TASKS, TINY
from mmengine.config import Config

from mtpeft.adapters import LoRA
from mtpeft.adapters.plugins import Plugin, option_names, parse_plugins, plugin_items
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import ADAPTERS

LORA = dict(cfg=dict(type='LoRA', rank=2), targets=['qkv'])
LANES = dict(cfg=dict(type='Compacter', n=2), targets=['fc2'], lanes='task', exclude=['re:x'])


def backbone(plugins):
    torch.manual_seed(0)
    return AdapterBackbone(TINY['timm Swin'], plugins=plugins, tasks=TASKS)


def test_a_plugin_is_read_once_and_cannot_be_changed():
    config = copy.deepcopy(LANES)
    (plugin,) = parse_plugins([config], TASKS)
    assert (plugin.adapter, plugin.options) == (ADAPTERS.get('Compacter'), dict(n=2))
    assert (plugin.targets, plugin.lanes, plugin.exclude) == (('fc2',), 'task', ('re:x',))
    assert (plugin.place, plugin.key) == (0, 'plugins[0]')
    assert config == LANES  # nothing is written into a config
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugin.place = 1
    assert parse_plugins([plugin]) == [plugin]


def test_an_adapter_may_be_named_by_its_class_or_with_a_scope():
    kinds = 'LoRA', 'mtpeft.LoRA', LoRA
    plugins = [{**LORA, 'cfg': dict(type=kind, rank=2)} for kind in kinds]
    assert {plugin.adapter for plugin in parse_plugins(plugins)} == {LoRA}


def test_nothing_is_written_into_the_plugins_of_a_backbone():
    plugins = [copy.deepcopy(LORA), copy.deepcopy(LANES)]
    backbone(plugins)
    assert plugins == [LORA, LANES]


def test_names_are_the_same_as_a_list():
    listed, named = backbone([LORA, LANES]), backbone(dict(shared=LORA, lanes=LANES))
    assert list(listed.commons) == list(named.commons) == ['1']
    assert listed.state_dict().keys() == named.state_dict().keys()
    named.load_state_dict(listed.state_dict())
    for name, value in listed.state_dict().items():
        assert torch.equal(value, named.state_dict()[name]), name


def test_none_switches_a_plugin_off():
    off = backbone(dict(shared=None, lanes=LANES))
    alone = backbone([LANES])
    assert off.adapted == alone.adapted
    # places are counted without it, so that files of either load into the other
    assert off.state_dict().keys() == alone.state_dict().keys()
    assert list(off.commons) == ['0']
    assert backbone(dict(shared=None, lanes=None)).adapted == []


def test_a_config_changes_one_option_of_its_base(tmp_path):
    base = f'model = dict(plugins=dict(shared={LORA}, lanes={LANES}))'
    (tmp_path / 'base.py').write_text(base)
    (tmp_path / 'leaf.py').write_text(
        "_base_ = './base.py'\n"
        'model = dict(plugins=dict(shared=None, lanes=dict(cfg=dict(n=4), targets=["fc1"])))'
    )
    plugins = Config.fromfile(tmp_path / 'leaf.py').model.plugins
    assert parse_plugins(plugins, TASKS) == [
        Plugin(
            ADAPTERS.get('Compacter'), dict(n=4), ('fc1',), 'task', ('re:x',), 0, "plugins['lanes']"
        )
    ]
    assert list(plugin_items(plugins)) == ["plugins['lanes']"]


def test_options_of_parents_are_known_where_they_are_passed_on():
    assert {'share', 'width', 'reduction', 'bias'} <= set(option_names(ADAPTERS.get('VLAdapter')))
    assert not {'self', 'layer', 'tasks', 'kwargs'} & set(option_names(ADAPTERS.get('VLAdapter')))
    for name, kind in ADAPTERS.module_dict.items():
        assert option_names(kind) is not None, name


@pytest.mark.parametrize('named', [False, True])
@pytest.mark.parametrize(
    ('change', 'kind', 'message'),
    [
        (dict(target=['fc1']), ValueError, "no option 'target'. Did you mean 'targets'"),
        (dict(lanes='tasks'), ValueError, "lanes='tasks' is unknown. Did you mean 'task'"),
        (dict(targets='fc1'), ValueError, "to be a list of at least one name, got 'fc1'"),
        (dict(targets=[]), ValueError, 'to be a list of at least one name'),
        (dict(targets=['fcc2']), ValueError, "'fcc2' matches no layer. Did you mean .*'fc2'"),
        (dict(exclude=['fc2']), ValueError, r"exclude=\['fc2'\] leaves none of .* \['fc2'\]"),
        (dict(cfg=dict(type='LoRa')), KeyError, "'LoRa' is no adapter. Did you mean 'LoRA'"),
        (dict(cfg=dict(rank=2)), KeyError, "'None' is no adapter. .*Valid names: .*AdaLoRA"),
        (dict(cfg=dict(type='LoRA', rnk=2)), TypeError, "LoRA has no option 'rnk'.*'rank'"),
        # an option of a parent, through **kwargs
        (dict(cfg=dict(type='Compacter', reductoin=2)), TypeError, "no option.*'reduction'"),
        (dict(cfg=dict(type='Compacter', n=0)), ValueError, 'Compacter: expected n to be a posi'),
        (dict(cfg=dict(type='LoRA', rank=900)), ValueError, "layer 'layers.0.blocks.0.mlp.fc2'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_errors_say_which_plugin_is_wrong(named, change, kind, message):
    wrong = {**LANES, **change}
    plugins = dict(shared=LORA, mine=wrong) if named else [LORA, wrong]
    key = r"plugins\['mine'\]" if named else r'plugins\[1\]'
    with pytest.raises(kind, match=f'{key}: .*{message}'):
        backbone(plugins)


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match=r"plugins\[0\]: a plugin needs 'targets'"):
        parse_plugins([dict(cfg=dict(type='LoRA'))])
    with pytest.raises(ValueError, match=r"plugins\[0\]: lanes='task' needs the names of the tas"):
        parse_plugins([LANES])
    with pytest.raises(TypeError, match=r'plugins\[0\]: expected a dict with cfg and targets'):
        parse_plugins(['LoRA'])
    # an option of the command line by number, where the config has names
    with pytest.raises(
        ValueError, match=r"plugins\['0'\]: .*names here, not numbers: shared, lanes"
    ):
        parse_plugins({'shared': LORA, 'lanes': LANES, '0': dict(cfg=dict(rank=2))})
    with pytest.raises(ValueError, match=r'got one plugin; write plugins=\[...\] around it'):
        parse_plugins(LORA)
