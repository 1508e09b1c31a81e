"""What a run says of its batch and its rates, and parameters that are unfrozen on the way."""

import logging
import re

import pytest
import torch
from helpers.engine import ROOT, tiny, train, train_in_two_processes, write_base
from mmengine.hooks import Hook

from mtpeft.apis import build_runner, init_model
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import UnfreezeHook
from mtpeft.utils.fits import ConfigError

LATE = 'backbone.network.layers.3.blocks.0.attn.qkv.weight'


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


class Ear(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def heard(cfg, work_dir, *hooks, **options):
    """The runner after training, and what was warned of."""
    runner, ear = build_runner(cfg, work_dir=str(work_dir), **options), Ear()
    runner.logger.addHandler(ear)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner, ear.said


# -- the batch -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('batch', 'steps', 'warned'),
    [(2, 1, None), (1, 2, None), (3, 1, 'sees 3 pictures'), (2, 2, r'sees 4 .*2 accumulated')],
)
def test_another_batch_than_the_recipes_is_warned_of(batch, steps, warned, base, tmp_path):
    cfg = tiny(base, train_cfg__max_epochs=1, train_dataloader__batch_size=batch,
               optim_wrapper__accumulative_counts=steps)  # fmt: skip
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=2)
    _, said = heard(cfg, tmp_path)
    found = [text for text in said if 'base_batch_size' in text]
    assert len(found) == (warned is not None)
    for text in found:
        assert (
            'for 2 (auto_scale_lr' in text and '--auto-scale-lr' in text and 'batch_size=' in text
        )
        assert re.search(warned, text)


def test_the_option_scales_the_rate_and_is_silent(base, tmp_path):
    cfg = tiny(base, train_cfg__max_epochs=1)
    cfg.param_scheduler = None
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=8)
    runner, said = heard(cfg, tmp_path, auto_scale_lr=True)
    assert {g['lr'] for g in runner.optim_wrapper.optimizer.param_groups} == {1e-3 * 2 / 8}
    assert not [text for text in said if 'base_batch_size' in text]
    cfg.pop('auto_scale_lr')
    with pytest.raises(ConfigError, match='--auto-scale-lr: .*base_batch_size'):
        build_runner(cfg, work_dir=str(tmp_path), auto_scale_lr=True)


# -- tasks that are not judged ---------------------------------------------------------------------


def test_some_of_the_tasks_may_be_judged_and_it_is_said(base, tmp_path):
    cfg = tiny(base, train_cfg__max_epochs=1)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.tasks.pop('semseg')
        evaluator.baselines.pop('semseg')
    runner, said = heard(cfg, tmp_path)
    assert 'The evaluator judges depth; semseg of the model is not judged.' in said
    table = runner.val_evaluator.table({'depth/rmse': 0.5, 'mtl/delta_m': 50.0})
    assert re.search(r'^semseg +\(not judged\)$', table, re.M)
    assert re.search(r'^these 1 +delta_m', table, re.M)


def test_nothing_is_said_where_all_are_judged(base, tmp_path):
    runner, said = heard(tiny(base, train_cfg__max_epochs=1), tmp_path)
    assert not [text for text in said if 'judge' in text]
    assert 'not judged' not in runner.val_evaluator.table({'mtl/delta_m': 1.0})


# -- resumed rates ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def one_epoch(base, tmp_path_factory):
    """A work dir with a run of the tiny schedule that has done one of its epochs."""
    work = tmp_path_factory.mktemp('one')
    runner = build_runner(tiny(base), work_dir=str(work))
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    return work


class Stop(Hook):
    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


LONGER = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=4, begin=1, end=5, convert_to_iter_based=True),
]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({}, None),
        ({'param_scheduler': LONGER, 'train_cfg.max_epochs': 5},
         [r'param_scheduler.1.T_max 6 in iterations (config: 12)', 'load_from=']),
        ({'train_cfg.max_epochs': 4}, ['12 iterations long instead of 9', 'rate stays']),
        ({'optim_wrapper.optimizer.lr': 0.5}, ['lr 0.001 (config: 0.5)', 'load_from=']),
        ({'optim_wrapper.optimizer.weight_decay': 0.5}, ['weight_decay 0.05 (config: 0.5)']),
    ],
)  # fmt: skip
def test_rates_that_a_checkpoint_brings_are_said(change, words, one_epoch, base, tmp_path):
    cfg = tiny(base)
    cfg.merge_from_dict(change)
    runner = build_runner(cfg, work_dir=str(tmp_path), resume=str(one_epoch / 'epoch_1.pth'))
    ear = Ear()
    runner.logger.addHandler(ear)
    runner.register_hook(Stop(), priority='LOWEST')
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    found = [text for text in ear.said if 'new run from these weights' in text]
    assert len(found) == (words is not None)
    for word in words or ():
        assert word in found[0]


# -- unfrozen on the way ---------------------------------------------------------------------------


class ByHand(Hook):
    """As people write it."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.model.backbone.network.layers[3].requires_grad_(True)


@pytest.mark.parametrize('how', ['by hand', 'epoch', 'iteration'])
def test_late_parameters_are_trained_and_named_once(how, base, tmp_path):
    hook = {'by hand': ByHand(), 'epoch': UnfreezeHook(['layers.3'], epoch=1),
            'iteration': UnfreezeHook(['layers.3'], iteration=4)}[how]  # fmt: skip
    runner, said = heard(tiny(base), tmp_path, hook)
    found = [text for text in said if 'Unfrozen since' in text]
    assert len(found) == 1 and 'backbone.network.layers.3' in found[0]
    start = safe_load(base)[LATE.removeprefix('backbone.network.')]
    state = runner.model.state_dict()
    assert not torch.equal(state[LATE], start)
    groups = runner.optim_wrapper.optimizer.param_groups
    assert [g['weight_decay'] for g in groups] == [0.05, 0.0, 0.05, 0.0]
    assert len({g['lr'] for g in groups}) == 1, 'the schedule goes on with them'
    loaded = init_model(tiny(base), tmp_path / 'epoch_3.pth').state_dict()
    assert torch.equal(loaded[LATE], state[LATE])


def test_a_resumed_run_goes_on_with_them_bit_for_bit(base, tmp_path):
    def cfg():
        made = tiny(base)
        made.custom_hooks = [
            *made.custom_hooks,
            dict(type='UnfreezeHook', parameters=['layers.3'], epoch=1),
        ]
        return made

    whole = train(cfg(), tmp_path / 'whole')
    first = build_runner(cfg(), work_dir=str(tmp_path / 'parts'))
    stop = Stop()
    stop.before_train_epoch = lambda runner: (
        (_ for _ in ()).throw(KeyboardInterrupt) if runner.epoch == 2 else None
    )
    first.register_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = train(cfg(), tmp_path / 'parts', resume='auto')
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    ours, theirs = (r.optim_wrapper.optimizer.state_dict() for r in (second, whole))
    assert repr(ours['param_groups']) == repr(theirs['param_groups'])


def test_a_run_from_such_weights_keeps_what_was_trained_of_the_base(base, tmp_path):
    heard(tiny(base), tmp_path / 'a', UnfreezeHook(['layers.3'], epoch=1))
    wanted = safe_load(tmp_path / 'a/epoch_3.pth')['state_dict'][LATE]
    train(tiny(base, train_cfg__max_epochs=1), tmp_path / 'b',
          checkpoint=str(tmp_path / 'a/epoch_3.pth'))  # fmt: skip
    loaded = init_model(tiny(base), tmp_path / 'b/epoch_1.pth').state_dict()
    assert torch.equal(loaded[LATE], wanted)


def test_a_key_of_the_config_counts_for_late_parameters(base, tmp_path):
    cfg = tiny(base)
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys={'layers.3': dict(lr_mult=0.1)})
    runner, _ = heard(cfg, tmp_path, UnfreezeHook(['layers.3'], epoch=1))
    rates = {
        id(p): g['lr'] for g in runner.optim_wrapper.optimizer.param_groups for p in g['params']
    }
    named = {name: rates[id(p)] for name, p in runner.model.named_parameters() if id(p) in rates}
    other = next(rate for name, rate in named.items() if 'layers.3' not in name)
    assert named[LATE] == pytest.approx(0.1 * other)


def test_two_processes_average_late_gradients(base, tmp_path):
    config = tmp_path / 'late.py'
    options = dict(
        custom_hooks=[
            dict(type='ReproducibleEpochHook'),
            dict(type='UnfreezeHook', parameters=['layers.3'], epoch=1),
        ]
    )
    config.write_text(f"_base_ = ['{ROOT}/tests/data/tiny_engine.py']\n"
                      f"model = dict(backbone=dict(backbone=dict(pretrained='{base}')))\n"
                      f'custom_hooks = {options["custom_hooks"]}\n'
                      'train_dataloader = dict(num_workers=0, persistent_workers=False)\n'
                      'for_all = None\n')  # fmt: skip
    check = tmp_path / 'check.py'
    check.write_text(CHECK)
    config.write_text(config.read_text() + "custom_imports = dict(imports=['check'])\n"
                      "custom_hooks += [dict(type='mtpeft.SameEverywhere')]\n")  # fmt: skip
    train_in_two_processes(config, dict(work_dir=str(tmp_path / 'two')))
    assert LATE in safe_load(tmp_path / 'two/epoch_3.pth')['state_dict']


CHECK = """
import torch
from mmengine.dist import all_gather
from mmengine.hooks import Hook

from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap


@HOOKS.register_module()
class SameEverywhere(Hook):
    def after_train(self, runner):
        for name, parameter in unwrap(runner.model).named_parameters():
            one, other = all_gather(parameter.detach())
            assert torch.equal(one, other), name
"""


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(parameters=['layers.3']), 'Expected epoch or iteration'),
        (dict(parameters=['layers.3'], epoch=1, iteration=1), 'Expected epoch or iteration'),
        (dict(parameters='layers.3', epoch=1), 'expected a list|Expected parameters'),
        (dict(parameters=['layres'], epoch=1), "'layres' is the pattern of no .*'layers'"),
    ],
)
def test_a_wrong_hook_is_refused_before_the_first_step(options, message, base, tmp_path):
    cfg = tiny(base)
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='UnfreezeHook', **options)]
    with pytest.raises(ValueError, match=message):
        train(cfg, tmp_path)


def test_a_loop_of_iterations_counts_no_epochs(base, tmp_path):
    cfg = tiny(base)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.param_scheduler = None
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='UnfreezeHook', parameters=['3'], epoch=1)]
    with pytest.raises(ValueError, match='counts no epochs. Give iteration'):
        train(cfg, tmp_path)
