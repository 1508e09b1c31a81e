"""What a right result hangs on is in every run: lists of a config replace those of its base."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from helpers.engine import tiny, train, write_base
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mtpeft.apis import build_runner
from mtpeft.datasets import CountedSampler
from mtpeft.hooks import ReproducibleEpochHook, SyncNormStatsHook

KEPT = ['CheckpointGuardHook', 'ReproducibleEpochHook', 'SyncNormStatsHook', 'SummaryHook',
        'ResumedValidationHook', 'IntegrityHook']  # fmt: skip
BY_ITERATION = dict(
    default_hooks__checkpoint__by_epoch=False, default_hooks__checkpoint__interval=3,
    default_hooks__logger__log_metric_by_epoch=False, log_processor__by_epoch=False,
)  # fmt: skip


def by_iteration(base=None, iterations=9, interval=3, **options):
    cfg = tiny(base, **BY_ITERATION, **options)
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=iterations, val_interval=interval
    )  # fmt: skip
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=9, by_epoch=False)]
    return cfg


def names(runner):
    return [type(hook).__name__ for hook in runner.hooks]


@pytest.mark.parametrize('own', [
    None, [], [dict(type='EMAHook')], [dict(type=EMAHook)], [dict(type='mmengine.EMAHook')],
    [dict(type='SyncNormStatsHook'), dict(type=ReproducibleEpochHook)],
    [dict(type='mtpeft.CheckpointGuardHook', base_mismatch='warn')],
])  # fmt: skip
def test_custom_hooks_of_ones_own_lose_nothing(tmp_path, own):
    cfg = tiny()
    cfg.custom_hooks = own
    runner = build_runner(cfg, work_dir=str(tmp_path))
    found = names(runner)
    assert all(found.count(name) == 1 for name in KEPT)
    assert ('EMAHook' in found) == ('EMA' in str(own))
    if own and 'warn' in str(own):
        guard = next(h for h in runner.hooks if type(h).__name__ == KEPT[0])
        assert guard.base_mismatch == 'warn'


def test_the_guard_comes_first_and_integrity_last(tmp_path):
    cfg = tiny()
    cfg.custom_hooks = [dict(type='EMAHook', priority='VERY_HIGH')]
    found = names(build_runner(cfg, work_dir=str(tmp_path)))
    assert found.index('CheckpointGuardHook') < found.index('EMAHook')
    assert found[-1] == 'IntegrityHook'


def test_buffers_that_are_synced_already_are_left_to_it(tmp_path):
    cfg = tiny()
    cfg.custom_hooks = [dict(type='SyncBuffersHook')]
    assert 'SyncNormStatsHook' not in names(build_runner(cfg, work_dir=str(tmp_path)))


@pytest.mark.parametrize('sampler', [
    dict(type='DefaultSampler'), dict(type=InfiniteSampler), dict(type='mmengine.DefaultSampler'),
    dict(type='CountedSampler', sampler=dict(type='InfiniteSampler')),
])  # fmt: skip
def test_the_sampler_of_the_training_counts_once(tmp_path, sampler):
    cfg = tiny()
    cfg.train_dataloader.sampler = sampler
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    runner = build_runner(cfg, work_dir=str(tmp_path))
    found = runner.train_loop.dataloader.sampler
    assert type(found) is CountedSampler and type(found.sampler) is not CountedSampler
    assert found.seed == runner.seed


class See(Hook):
    """The flips of every picture, in the order of the training."""

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for sample in data_batch['data_samples']:
            self.seen.setdefault(sample.img_id, []).append(bool(sample.get('flip')))


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
def test_in_a_loop_of_iterations_pictures_are_augmented_anew(tmp_path, sampler):
    cfg = by_iteration(None, 24, 100, train_dataloader__sampler__type=sampler)
    cfg.custom_hooks = []
    runner, see = build_runner(cfg, work_dir=str(tmp_path)), See()
    runner.register_hook(see)
    runner.train()
    assert len(see.seen) == 6 and all(len(flips) == 8 for flips in see.seen.values())
    # all 8 alike has a chance of 1 in 128 for each of six pictures
    assert sum(len(set(flips)) == 1 for flips in see.seen.values()) < 3


@contextmanager
def stopped(monkeypatch, hook, iteration):
    original = Runner.call_hook

    def call_hook(self, name, **kwargs):
        original(self, name, **kwargs)
        if name == hook and self.iter == iteration:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Runner, 'call_hook', call_hook)
        yield


@pytest.mark.parametrize('sampler, workers', [
    ('InfiniteSampler', 0), ('InfiniteSampler', 1), ('DefaultSampler', 0),
])  # fmt: skip
def test_a_resumed_loop_of_iterations_is_the_whole_one(tmp_path, monkeypatch, sampler, workers):
    base = write_base(tmp_path / 'base.pth')
    options = dict(train_dataloader__sampler__type=sampler, train_dataloader__num_workers=workers,
                   optim_wrapper__accumulative_counts=2)  # fmt: skip
    whole = train(by_iteration(base, **options), tmp_path / 'whole')
    # the third iteration is saved, within an accumulation
    with stopped(monkeypatch, 'before_train_iter', iteration=4):
        train(by_iteration(base, **options), tmp_path / 'cut')
    resumed = train(by_iteration(base, **options), tmp_path / 'cut', resume=True)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    pictures = sorted(path.name for path in (tmp_path / 'whole' / 'vis').iterdir())
    assert pictures == ['val_3.png', 'val_6.png', 'val_9.png']


def test_an_evaluation_that_an_iteration_was_killed_in_is_done(tmp_path, monkeypatch):
    base = write_base(tmp_path / 'base.pth')
    with stopped(monkeypatch, 'after_val_iter', iteration=3):
        train(by_iteration(base, 3), tmp_path)
    for times in (1, 1):  # a second time it is the best, and not repeated
        runner = train(by_iteration(base, 3), tmp_path, resume=True)
        assert len(runner.message_hub.get_scalar('val/mtl/delta_m').data[0]) == times


def test_a_plain_runner_is_warned(tmp_path):
    cfg = by_iteration(write_base(tmp_path / 'base.pth'), 1)
    cfg.work_dir = str(tmp_path)
    runner, said = Runner.from_cfg(cfg), []
    runner.logger.warning = said.append
    runner.train()
    assert any('Nothing counts the passes' in str(line) for line in said)


def test_running_statistics_are_one_before_any_checkpoint(monkeypatch):
    module, synced = 'mtpeft.hooks.sync_norm_stats_hook', []
    monkeypatch.setattr(f'{module}.get_world_size', lambda: 2)
    monkeypatch.setattr(f'{module}.all_reduce_params', lambda found, op: synced.append(op))
    hook = SyncNormStatsHook()
    runner = SimpleNamespace(model=torch.nn.BatchNorm2d(2), train_dataloader=range(9))
    hook.after_train_iter(runner, 4)
    assert not synced  # within an epoch, or a loop of iterations
    hook.before_gathered_save(runner)
    hook.before_gathered_save(runner)
    assert synced == ['mean']
