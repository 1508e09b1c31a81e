"""FrequencyHook in real runs: what it records, when, and what it warns of."""

import json
import math
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.engine import tiny, train, write_base
from helpers.frequencies import (
    SITES,
    TASKS,
    effective_rank,
    lowpass,
    matrix,
    omegas,
    with_frequencies,
)
from mmengine.hooks import Hook

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import FrequencyHook


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, FrequencyHook))


def run(cfg, folder, *hooks, **options):
    runner = build_runner(cfg, work_dir=str(folder), **options)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


class KeepWeights(Hook):
    """The weights at the start and after each epoch."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.seen = [{k: v.clone() for k, v in runner.model.state_dict().items()}]

    def after_train_epoch(self, runner):
        self.seen.append({k: v.clone() for k, v in runner.model.state_dict().items()})


class Steer(Hook):
    """Sets s of the clock after each epoch, before it is recorded."""

    def __init__(self, *values):
        self.values = values

    def after_train_epoch(self, runner):
        value = self.values[runner.epoch]
        if value is not None:
            for head in runner.model.backbone.clock.heads:
                head.s.data.fill_(value)


class StopAfter(Hook):
    """Ends a run as a kill does, or in good order."""

    def __init__(self, epoch, kill=True):
        self.epoch, self.kill = epoch, kill

    def before_train_epoch(self, runner):
        if self.kill and runner.epoch == self.epoch:
            raise KeyboardInterrupt

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = not self.kill and runner.epoch + 1 == self.epoch


def log_of(folder, level='INFO'):
    text = ''.join(path.read_text() for path in sorted(folder.rglob('*.log')))
    return [line for line in text.splitlines() if f' - {level} - ' in line]


def warnings_of(folder):
    return [line for line in log_of(folder, 'WARNING') if 'Frequencies' in line]


# -- what is recorded ------------------------------------------------------------------------------


@pytest.mark.parametrize('mixed', [False, True])
def test_values_are_those_of_numpy(base, tmp_path, mixed):
    """Also in mixed precision, accumulated, beside an average: they are of what is trained."""
    cfg = with_frequencies(
        base, hook=dict(rank_interval=1), steps=2, optim_wrapper__optimizer__lr=0.02
    )
    if mixed:
        cfg.optim_wrapper.update(type='AutocastOptimWrapper', accumulative_counts=2)
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.01))
    weights = KeepWeights()
    history = hook_of(run(cfg, tmp_path, weights)).history
    assert [(r['epoch'], r['iter']) for r in history] == [(i, 2 * i) for i in range(4)]
    for record, state in zip(history, weights.seen, strict=True):
        expected = omegas(state)
        assert record['omegas'] == {'backbone': pytest.approx(expected, rel=1e-5)}
        assert list(record['effective_ranks']) == [*SITES, 'decoder']
        for site, ranks in record['effective_ranks'].items():
            m = matrix(state, site)
            wanted = {t: effective_rank(lowpass(np.sin(expected[t] * m))) for t in TASKS}
            assert ranks == pytest.approx(wanted, rel=1e-3)
    # B is 0 at the start; later there is something that could be wrong
    assert history[0]['effective_ranks'][SITES[0]] == dict.fromkeys(TASKS, 0)
    assert min(history[-1]['effective_ranks'][SITES[0]].values()) > 1
    first, last = (history[i]['omegas']['backbone'] for i in (0, -1))
    assert all(abs(first[t] - last[t]) > 0.02 for t in TASKS)


def test_training_is_the_same_with_it(base, tmp_path):
    torch.manual_seed(0)
    with_it = run(with_frequencies(base, hook=dict(rank_interval=1)), tmp_path / '1').model
    torch.manual_seed(0)
    without = run(with_frequencies(base), tmp_path / '2').model
    other = without.state_dict()
    assert [k for k, v in with_it.state_dict().items() if not torch.equal(v, other[k])] == []


@pytest.mark.parametrize(
    'hook, times, ranks',
    [
        (dict(), [0, 1, 2, 3, 4, 5], [0, 5]),
        (dict(interval=4, rank_interval=3), [0, 3, 4, 5], [0, 3, 5]),
        (dict(interval=4, rank_interval=7, by_epoch=False), [0, 4, 7, 8, 10], [0, 7, 10]),
    ],
)
def test_when(base, tmp_path, hook, times, ranks):
    cfg = with_frequencies(base, decoder=False, hook=hook, steps=2, train_cfg__max_epochs=5)
    history = hook_of(run(cfg, tmp_path)).history
    unit = 'epoch' if hook.get('by_epoch', True) else 'iter'
    assert [record[unit] for record in history] == times
    assert [record[unit] for record in history if record['effective_ranks']] == ranks
    saved = safe_load(tmp_path / 'epoch_5.pth')['frequencies']['history']
    assert saved == history
    assert FrequencyHook(interval=3).rank_interval == 30


def test_an_iteration_based_run(base, tmp_path):
    cfg = with_frequencies(base, decoder=False, steps=5, hook=dict(interval=3, by_epoch=False))
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=100)
    cfg.param_scheduler = []
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4)
    cfg.log_processor = dict(by_epoch=False)
    run(cfg, tmp_path)
    saved = safe_load(tmp_path / 'iter_4.pth')['frequencies']['history']
    assert [record['iter'] for record in saved] == [0, 3, 4]
    assert [bool(record['effective_ranks']) for record in saved] == [True, False, True]


def test_a_run_that_stops_early_has_its_end(base, tmp_path):
    cfg = with_frequencies(base, decoder=False, hook=dict(interval=5), train_cfg__max_epochs=6)
    history = hook_of(run(cfg, tmp_path, StopAfter(2, kill=False))).history
    assert [record['epoch'] for record in history] == [0, 2]
    assert history[-1]['effective_ranks'].keys() == set(SITES)


# -- what is said ----------------------------------------------------------------------------------


def scalars_of(folder):
    lines = next(folder.rglob('scalars.json')).read_text().splitlines()
    return [found for line in lines if 'omega/spread' in (found := json.loads(line))]


def test_log_and_scalars(base, tmp_path):
    cfg = with_frequencies(base, hook=dict(rank_interval=2), log_level='INFO')
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    history = hook_of(run(cfg, tmp_path)).history
    lines = [line for line in log_of(tmp_path) if 'INFO - Frequencies: semseg' in line]
    assert len(lines) == 4
    for record, line, scalars in zip(history, lines, scalars_of(tmp_path), strict=True):
        omega = record['omegas']['backbone']
        low, high = sorted(omega.values())
        assert f'semseg {omega["semseg"]:.2f}, depth {omega["depth"]:.2f}; ' in line
        assert f'spread {high - low:.2f}, standard deviation {(high - low) / 2:.2f}' in line
        wanted = {f'omega/{task}': value for task, value in omega.items()}
        wanted['omega/spread'] = high - low
        for site, ranks in record['effective_ranks'].items():
            wanted |= {f'omega/effective_rank/{site}/{task}': r for task, r in ranks.items()}
        assert scalars.pop('step') == record['epoch']
        assert scalars == pytest.approx(wanted)
    assert sum('Effective rank of lanes' in line for line in log_of(tmp_path)) == 3


def test_a_clock_for_each_layer(base, tmp_path):
    cfg = with_frequencies(base, dict(per='layer'), hook=dict(), log_level='INFO')
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    weights = KeepWeights()
    history = hook_of(run(cfg, tmp_path, weights)).history
    for record, state in zip(history, weights.seen, strict=True):
        for head, site in enumerate([*SITES, 'decoder']):
            assert record['omegas'][site] == pytest.approx(omegas(state, head), rel=1e-5)
    assert len({tuple(tasks.values()) for tasks in history[0]['omegas'].values()}) == 5
    last = scalars_of(tmp_path)[-1]
    values = history[-1]['omegas']
    assert last[f'omega/{SITES[2]}/depth'] == pytest.approx(values[SITES[2]]['depth'])
    spreads = [abs(tasks['semseg'] - tasks['depth']) for tasks in values.values()]
    assert last['omega/spread'] == pytest.approx(sum(spreads) / 5)
    text = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert text.count(f'\n  {SITES[1]}: semseg ') == 4


def test_free_frequencies(base, tmp_path):
    cfg = with_frequencies(base, dict(lcn=False, scale=10.0), decoder=False, hook=dict())
    weights = KeepWeights()
    history = hook_of(run(cfg, tmp_path, weights)).history
    for record, state in zip(history, weights.seen, strict=True):
        wanted = {t: 10 * state[f'backbone.clock.heads.0.theta.{t}'].item() for t in TASKS}
        assert record['omegas']['backbone'] == pytest.approx(wanted)


# -- what is warned of -----------------------------------------------------------------------------


def test_crossing_zero_is_warned_of_once_until_it_recovers(base, tmp_path):
    cfg = with_frequencies(base, decoder=False, hook=dict(), train_cfg__max_epochs=5)
    run(cfg, tmp_path, Steer(-30.0, -29.0, 30.0, 30.0, -30.0))
    crossed = [line for line in warnings_of(tmp_path) if 'that crossed 0' in line]
    assert len(crossed) == 2
    for line in crossed:
        assert 'semseg -' in line and 'depth -' in line
        assert "constructor='FlatNoDecayConstructor'" in line and 'larger shift' in line
        assert 'bounds 15 to 75' in line


def test_leaving_the_bounds_is_warned_of_by_task(base, tmp_path):
    """At a scale of 1.2 the larger frequency leaves them, at 1.4 the other does as well."""
    cfg = with_frequencies(base, decoder=False, hook=dict(), train_cfg__max_epochs=4)
    cfg.optim_wrapper.optimizer.lr = 1e-30

    class SetTokens(Hook):
        def before_train(self, runner):
            clock = runner.model.backbone.clock
            clock.heads[0].W_q.data.fill_(1.0)
            clock.tokens['semseg'].data.fill_(0.05)  # 8 channels: tanh(.4) = .38
            clock.tokens['depth'].data.fill_(1.0)

    runner = build_runner(cfg, work_dir=str(tmp_path))
    runner.register_hook(SetTokens())
    runner.register_hook(Steer(36.0, 36.0, 42.0, 36.0))
    runner.train()
    lines = warnings_of(tmp_path)
    assert ['depth 90.00' in line for line in lines] == [True, False]
    assert ['semseg' in line for line in lines] == [False, True]
    assert all('outside of the bounds' in line and 'scale and shift' in line for line in lines)
    now = 42 * (1.5 + math.tanh(0.4))
    assert f'semseg {now:.2f}, at first {now * 30 / 42:.2f}, bounds 15 to 75' in lines[1]


def test_layers_are_named_where_each_has_its_clock(base, tmp_path):
    cfg = with_frequencies(base, dict(per='layer'), hook=dict(), train_cfg__max_epochs=1)

    class TurnOne(Hook):
        def after_train_epoch(self, runner):
            runner.model.backbone.clock.heads[2].s.data.mul_(-1)

    run(cfg, tmp_path, TurnOne())
    crossed, left = warnings_of(tmp_path)
    assert f'depth in {SITES[2]} -' in crossed and SITES[1] not in crossed
    assert f'depth in {SITES[2]} -' in left


def test_nothing_is_warned_of_in_a_usual_run(base, tmp_path):
    cfg = with_frequencies(base, hook=dict())
    run(cfg, tmp_path)
    assert warnings_of(tmp_path) == []


# -- resume ----------------------------------------------------------------------------------------


def test_a_resumed_run_goes_on_with_the_history(base, tmp_path):
    def cfg():
        cfg = with_frequencies(base, hook=dict(interval=2, rank_interval=3))
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1))
        return cfg

    # from the start on beyond 0: a resumed run neither records nor warns again
    turned = Steer(-30.0, None, None)
    whole = run(cfg(), tmp_path / 'whole', turned)
    with pytest.raises(KeyboardInterrupt):
        run(cfg(), tmp_path / 'cut', turned, StopAfter(2))
    before = len(warnings_of(tmp_path / 'cut'))
    resumed = run(cfg(), tmp_path / 'cut', turned, resume=True)
    assert hook_of(resumed).history == hook_of(whole).history
    assert [record['epoch'] for record in hook_of(resumed).history] == [0, 2, 3]
    assert len(warnings_of(tmp_path / 'cut')) == before == len(warnings_of(tmp_path / 'whole')) == 2


def test_resumed_without_a_history(base, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(with_frequencies(base, decoder=False), tmp_path, StopAfter(1))
    resumed = run(with_frequencies(base, decoder=False, hook=dict()), tmp_path, resume=True)
    assert [record['epoch'] for record in hook_of(resumed).history] == [1, 2, 3]
    assert any('has no state of FrequencyHook' in line for line in log_of(tmp_path, 'WARNING'))


def test_a_new_run_from_a_checkpoint_has_its_own_history(base, tmp_path):
    run(with_frequencies(base, decoder=False, hook=dict()), tmp_path / '1')
    cfg = with_frequencies(base, decoder=False, hook=dict(), train_cfg__max_epochs=1)
    runner = run(cfg, tmp_path / '2', checkpoint=str(tmp_path / '1' / 'epoch_3.pth'))
    history = hook_of(runner).history
    assert [record['epoch'] for record in history] == [0, 1]
    assert min(history[0]['effective_ranks'][SITES[0]].values()) > 1


# -- other processes, bad input --------------------------------------------------------------------


def test_other_processes_record_nothing(base, tmp_path):
    cfg = with_frequencies(base, hook=dict(), train_cfg__max_epochs=1, log_level='INFO')
    with mock.patch('mtpeft.hooks.frequency_hook.is_main_process', return_value=False):
        runner = run(cfg, tmp_path)
    assert hook_of(runner).history == []
    assert not any('Frequencies:' in line for line in log_of(tmp_path))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(interval=0), 'Expected interval to be an integer from 1 on, got 0'),
        (dict(interval=True), 'interval.*True'), (dict(rank_interval=0), 'rank_interval.*got 0'),
        (dict(rank_interval=2.5), 'rank_interval.*2.5'),
    ],
)  # fmt: skip
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        FrequencyHook(**options)


def test_no_frequencies(base, tmp_path):
    cfg = tiny(base)
    cfg.default_hooks.frequencies = dict(type='FrequencyHook')
    with pytest.raises(ValueError, match='model has no frequencies.*SineAWB, SharedBaseDecoder'):
        train(cfg, tmp_path)
