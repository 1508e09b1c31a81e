"""Custom keys are those of the state dict: a task has a rate of its own, a slip is named."""

import copy

import pytest
import torch
from helpers.engine import tiny
from torch import nn

from mtpeft.adapters.stacked_state import StackedState
from mtpeft.apis import build_runner
from mtpeft.apis.preflight import check_config
from mtpeft.optim import FlatNoDecayConstructor, TaskwiseConstructor
from mtpeft.utils.fits import ConfigError

TASKS = ('semseg', 'depth', 'edge')


class Lanes(StackedState):
    """A stacked matrix, and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = TASKS
        self.factor = nn.Parameter(torch.randn(3, 4, 5))
        self.shared = nn.Parameter(torch.randn(2, 2))

    def lane_parameters(self) -> dict[str, nn.Parameter]:
        return {'factor': self.factor}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes()


OPTIMIZERS = [
    dict(type='AdamW', lr=1e-2, weight_decay=0.1),
    dict(type='AdamW', lr=1e-2, weight_decay=0.1, foreach=True),
    dict(type='Adam', lr=1e-2, weight_decay=0.1, amsgrad=True),
    dict(type='SGD', lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
]
KEYS = [
    {'factor.depth': dict(lr_mult=0.1)},
    {'factor.depth': dict(lr_mult=10.0), 'factor.edge': dict(lr_mult=0.0)},
    {'lanes': dict(lr_mult=0.5), 'factor.semseg': dict(lr_mult=2.0)},
    {'lanes.factor': dict(lr_mult=0.0), 'factor.edge': dict(lr_mult=1.0)},
]


def rates_of(keys):
    """What a reader of the keys expects: multiples of each task, and of ``shared``."""
    found = []
    for name in [f'lanes.factor.{task}' for task in TASKS] + ['lanes.shared']:
        fitting = sorted((key for key in keys if key in name), key=len)
        found.append(keys[fitting[-1]]['lr_mult'] if fitting else 1.0)
    return found


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('keys', KEYS)
@pytest.mark.parametrize('constructor', [FlatNoDecayConstructor, TaskwiseConstructor])
def test_each_task_moves_as_a_parameter_of_its_own(optimizer, keys, constructor):
    torch.manual_seed(0)
    net = Net()
    first = net.lanes.factor.detach().clone()
    alone = [nn.Parameter(row.clone()) for row in net.lanes.factor.detach()]
    alone.append(nn.Parameter(net.lanes.shared.detach().clone()))
    wrapper = constructor(dict(optimizer=dict(optimizer)), dict(custom_keys=keys))(net)
    options = {k: v for k, v in optimizer.items() if k not in ('type', 'lr')}
    groups = [dict(params=[p], lr=optimizer['lr'] * rate)
              for p, rate in zip(alone, rates_of(keys), strict=True)]  # fmt: skip
    plain = getattr(torch.optim, optimizer['type'])(groups, **options)
    schedules = [
        torch.optim.lr_scheduler.CosineAnnealingLR(o, 9) for o in (wrapper.optimizer, plain)
    ]
    for _ in range(6):
        gradient = torch.randn(3, 4, 5)
        net.lanes.factor.grad, net.lanes.shared.grad = gradient.clone(), torch.ones(2, 2)
        for parameter, part in zip(alone, [*gradient, torch.ones(2, 2)], strict=True):
            parameter.grad = part.clone()
        for optim in (wrapper.optimizer, plain):
            optim.step()
        for schedule in schedules:
            schedule.step()
    torch.testing.assert_close(net.lanes.factor.detach(), torch.stack(alone[:3]).detach())
    torch.testing.assert_close(net.lanes.shared, alone[3])
    for row, start, rate in zip(net.lanes.factor, first, rates_of(keys), strict=False):
        assert rate > 0 or torch.equal(row, start)


@pytest.mark.parametrize('constructor', [FlatNoDecayConstructor, TaskwiseConstructor])
def test_a_key_of_no_name_gets_the_nearest(constructor):
    build = constructor(dict(optimizer=dict(type='SGD', lr=0.1)),
                        dict(custom_keys={'factor.dpeth': dict(lr_mult=0.1)}))  # fmt: skip
    with pytest.raises(ConfigError, match="'factor.dpeth' is part of no name.*'factor.depth'"):
        build(Net())


def test_a_decay_of_one_task_is_refused():
    build = FlatNoDecayConstructor(
        dict(optimizer=dict(type='AdamW')), dict(custom_keys={'factor.depth': dict(decay_mult=0.0)})
    )
    with pytest.raises(ValueError, match=r"\['factor.depth'\]: expected lr_mult alone"):
        build(Net())


def test_flat_parameters_stay_without_decay():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5))
    keys = {'1': dict(lr_mult=0.1, decay_mult=0.5)}
    wrapper = FlatNoDecayConstructor(cfg, dict(custom_keys=keys))(net)
    found = {id(p): (g['lr'], g['weight_decay'])
             for g in wrapper.optimizer.param_groups for p in g['params']}  # fmt: skip
    names = {name: found[id(p)] for name, p in net.named_parameters()}
    assert names == {'0.weight': (1.0, 0.5), '0.bias': (1.0, 0.0),
                     '1.weight': (0.1, 0.25), '1.bias': (0.1, 0.0)}  # fmt: skip


@pytest.mark.parametrize('constructor', [None, 'DefaultOptimWrapperConstructor',
                                         'FlatNoDecayConstructor'])  # fmt: skip
def test_a_run_keeps_one_task_still(constructor, tmp_path):
    cfg = tiny(train_cfg__max_epochs=1)
    cfg.param_scheduler = None
    cfg.optim_wrapper.pop('constructor')
    if constructor:
        cfg.optim_wrapper.constructor = constructor
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'task_B.depth': dict(lr_mult=0.0)})
    runner = build_runner(cfg, work_dir=str(tmp_path))
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    moved = {key: not torch.equal(value, before[key])
             for key, value in runner.model.state_dict().items() if 'task_B' in key}  # fmt: skip
    assert moved and all(moved[key] == key.endswith('.semseg') for key in moved)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(custom_key={}), "no option 'custom_key'. Did you mean 'custom_keys'"),
        (dict(custom_keys={'head': dict(lr_mlt=1.0)}), "'lr_mlt'. Did you mean 'lr_mult'"),
        (dict(custom_keys={'head': dict(lr_mult=-1.0)}), "'head'.*lr_mult: expected .*at least 0"),
    ],
)
def test_slips_in_paramwise_cfg_are_named(options, message):
    cfg = tiny()
    cfg.optim_wrapper.paramwise_cfg = options
    with pytest.raises(ConfigError, match=message):
        check_config(cfg)
