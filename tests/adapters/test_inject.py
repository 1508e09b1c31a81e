"""Adapters swapped into any network by pattern."""

import pytest
import torch
from torch import nn

from mtpeft.adapters import AdapterLayer, CommonModule, HyperNetwork, inject

TASKS = ('semseg', 'depth')
LORA = dict(type='LoRA', rank=2)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.ModuleDict(dict(fc1=nn.Linear(4, 6), fc2=nn.Linear(6, 4)))
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(x + self.mlp.fc2(self.mlp.fc1(x)))


def network():
    return nn.Sequential(Block(), Block(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ('plugin', 'names'),
    [
        (dict(targets=['fc1']), ['0.mlp.fc1', '1.mlp.fc1']),
        (dict(targets=['mlp.fc2', 'fc1']), ['0.mlp.fc2', '1.mlp.fc2', '0.mlp.fc1', '1.mlp.fc1']),
        (dict(targets=['inner']), ['0.mlp.fc2', '1.mlp.fc2']),
        # an expression may sweep over containers and norms
        (dict(targets=[r're:1\..*']), ['1.mlp.fc1', '1.mlp.fc2']),
        (dict(targets=['fc1'], exclude=[r're:0\..*']), ['1.mlp.fc1']),
    ],
    ids=str,
)
def test_what_targets_mean(plugin, names):
    adapted = network()
    plain = {name for name, module in adapted.named_modules() if isinstance(module, nn.Linear)}
    roles = dict(inner=r'mlp\.fc2')
    assert inject(adapted, [dict(cfg=LORA, **plugin)], roles, prefixes=['0', '1']) == names
    for name in plain:
        assert isinstance(adapted.get_submodule(name), AdapterLayer) == (name in names)


def test_the_start_is_the_network():
    torch.manual_seed(0)
    adapted, x = network(), torch.randn(2, 4)
    expected = adapted(x)
    inject(adapted, dict(all=dict(cfg=LORA, targets=['fc1', 'fc2', '2'])))
    torch.testing.assert_close(adapted(x), expected)


def test_only_blocks_with_lanes_get_task_parameters():
    adapted = network()
    plugins = [dict(cfg=LORA, targets=['fc1'], lanes='task')]
    inject(adapted, plugins, tasks=TASKS, lane_blocks=['1'])
    lanes = {i: adapted[i].mlp.fc1.adapter.tasks for i in (0, 1)}
    assert lanes == {0: (), 1: TASKS}


def test_each_plugin_gets_the_module_of_its_place():
    common = HyperNetwork(TASKS, embedding=4, hidden=4)
    cfg = dict(type='HyperFormer', embedding=4, hidden=4)
    adapted = network()
    plugins = dict(a=dict(cfg=LORA, targets=['fc1']), b=dict(cfg=cfg, targets=['fc2']))
    inject(adapted, plugins, blocks=['0', '1'], shared={1: common})
    assert [tuple(site) for site in common.sites] == [('0.mlp.fc2', '0'), ('1.mlp.fc2', '1')]
    for number in (0, 1):
        adapter = adapted[number].mlp.fc2.adapter
        assert adapter.common is common and adapter.site == number
    assert not any(isinstance(module, CommonModule) for module in adapted.modules())
    # without one, each layer has its own
    adapted = network()
    inject(adapted, plugins)
    own = [module for module in adapted.modules() if isinstance(module, HyperNetwork)]
    assert len(own) == 2


def test_a_module_that_is_no_layer_cannot_be_adapted():
    with pytest.raises(TypeError, match="'0.norm' with LoRA: expected a Linear layer.*LayerNorm"):
        inject(network(), [dict(cfg=LORA, targets=['norm'])])
    with pytest.raises(KeyError, match='is no adapter'):
        inject(network(), [dict(cfg=dict(type=print), targets=['fc1'])])
