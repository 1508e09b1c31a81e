"""AdaLoRAHook in real runs: averages, masks, budget, penalty."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import tiny, train, write_base
from mmengine.hooks import Hook

from mtpeft.adapters import low_rank_adapters, rank_pattern
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import AdaLoRAHook


def config(base, kind='AdaLoRA', hook=None, **options):
    plugins = [dict(cfg=dict(type=kind, rank=4, task_rank=3), targets=['fc1', 'fc2'], lanes='task')]
    options = dict(train_cfg__max_epochs=4) | options
    return tiny(base, model__backbone__plugins=plugins, train_cfg__val_interval=9,
                param_scheduler=[], default_hooks__rank=dict(type='AdaLoRAHook', **(hook or {})),
                **options)  # fmt: skip


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, AdaLoRAHook))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


class Spy(Hook):
    """What the first layer's adapter had and got in every step, and what the hook made of it."""

    priority = 'LOWEST'

    def before_train(self, runner):
        stir(runner.model, 0.1)
        self.hook, self.seen, self.masked = hook_of(runner), [], []
        adapter = next(iter(low_rank_adapters(runner.model).values()))
        self.group = adapter.groups['task']
        # registered after the hook's own, so it sees the same gradients
        runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self.look())

    def look(self):
        self.seen.append({n: (p.detach().clone(), p.grad.clone())
                          for n, p in self.group.parameters.items()})  # fmt: skip

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        zero = [
            (s.group.moved(s.group.last, s.group.parameters[s.group.last]).flatten(2) == 0).all(2)
            if s.group.parameters[s.group.last].ndim > 1 + s.group.stacked
            else s.group.moved(s.group.last, s.group.parameters[s.group.last]) == 0
            for s in self.hook.tracked
        ]
        self.masked.append([z & s.usable() for z, s in zip(zero, self.hook.tracked, strict=True)])


def spied(base, tmp_path, kind='AdaLoRA', hook=None, **options):
    cfg = config(base, kind, hook, **options)
    runner, spy = build_runner(cfg, work_dir=str(tmp_path)), Spy()
    runner.register_hook(spy)
    runner.train()
    return runner, spy


def test_averages_are_those_of_the_formula(base, tmp_path):
    """Of 12 steps, in which nothing is chosen before the last."""
    options = dict(t_initial=11, t_final=0, delta_t=50, beta1=0.7, beta2=0.6, target_rank=2)
    cfg = config(base, hook=options, optim_wrapper__clip_grad=None)
    runner, spy, kept = build_runner(cfg, work_dir=str(tmp_path)), Spy(), {}

    class Keep(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 10:
                tracked = next(t for t in spy.hook.tracked if t.group is spy.group)
                kept['importance'] = tracked.importance()

    runner.register_hook(spy)
    runner.register_hook(Keep())
    runner.train()
    wanted = 0.0
    for name in spy.group.factors:
        mean = spread = torch.zeros(())
        for step in spy.seen[:11]:
            w, g = step[name]
            now = (w * g).abs()
            mean = 0.7 * mean + 0.3 * now
            spread = 0.6 * spread + 0.4 * (now - mean).abs()
        s = mean * spread
        if name == 'task_P':
            s = s.mean(1)
        elif name == 'task_Q':
            s = s.flatten(2).mean(2)
        wanted = wanted + s
    torch.testing.assert_close(kept['importance'], wanted, rtol=1e-4, atol=1e-20)


@pytest.mark.parametrize('kind', ['AdaLoRA', 'LoRA'])
def test_components_outside_the_budget_are_zero_and_may_come_back(base, tmp_path, kind):
    options = dict(target_rank=1.5, t_initial=2, t_final=2, delta_t=2)
    runner, spy = spied(base, tmp_path, kind, options, optim_wrapper__optimizer__lr=0.02)
    hook, history = spy.hook, hook_of(runner).history
    # 8 layers with one shared and two task streams, two shared ones without effect
    assert (
        hook.initial == 6 * 4 + 16 * 3 and hook.target == 33 and (hook.first, hook.last) == (2, 10)
    )
    counts = [sum(int(m.sum()) for m in masks) for masks in spy.masked]
    for time in range(1, 10):
        masked = time > 2 and time % 2 == 0
        assert counts[time - 1] == (hook.initial - hook.budget(time) if masked else 0), time
    # between two choices the masked ones were trained, and other ones are masked
    times = [torch.cat([m.flatten() for m in spy.masked[t - 1]]) for t in (4, 6, 8)]
    back = any((early & ~late).any() for early, late in zip(times, times[1:], strict=False))
    assert back or kind == 'LoRA'
    pattern = rank_pattern(runner.model)
    idle = safe_load(f'{runner.work_dir}/epoch_4.pth')['meta']['idle_streams']
    ranks = [r for layer, rs in pattern.items() for s, r in rs.items()
             if s not in idle.get(layer, ())]  # fmt: skip
    assert sum(ranks) == 33 and min(ranks) >= 1 and max(ranks) > min(ranks)
    assert [r['iter'] for r in history] == [0, 4, 6, 8, 10]
    effective = [r['effective'] for r in history]
    assert effective == sorted(effective, reverse=True)
    assert sum(v for rs in history[1]['ranks'].values() for v in rs.values()) == (
        hook.budget(4) + 2 * 4
    )
    assert hook.finished and hook.state() == dict(averages={})


@pytest.mark.parametrize('penalty', ['norm', 'squared'])
@pytest.mark.parametrize('counts, wrapper', [
    (1, 'OptimWrapper'), (2, 'OptimWrapper'), (1, 'AutocastOptimWrapper'),
])  # fmt: skip
def test_the_penalty_is_added_to_the_gradient(base, tmp_path, penalty, counts, wrapper):
    """The same first step with and without: gradients differ by that of a plain reference."""
    common = dict(t_initial=2, t_final=0, target_rank=2)

    def first(name, coefficient):
        hook = dict(common, orthogonality=coefficient, penalty=penalty)
        _, spy = spied(base, tmp_path / name, hook=hook,
                       optim_wrapper__clip_grad=None, optim_wrapper__type=wrapper,
                       optim_wrapper__accumulative_counts=counts,
                       train_cfg__max_epochs=2)  # fmt: skip
        return spy

    plain, added = first('0', 0), first('1', 0.3)
    factors = len(added.hook._penalised()) * 2
    streams = sum(sum(t.live) for t in added.hook._penalised())
    assert factors == 2 * 14 and streams == 22  # two shared paths have no effect
    for name in ('task_P', 'task_Q'):
        value, gradient = added.seen[0][name]
        assert torch.equal(value, plain.seen[0][name][0])
        value = value.clone().requires_grad_()
        total = 0.0
        for one in value:
            vectors = one.T if name == 'task_P' else one
            square = (vectors @ vectors.T - torch.eye(3)).square().sum()
            total = total + (square.sqrt() / (2 * streams) if penalty == 'norm' else square)
        (wanted,) = torch.autograd.grad(0.3 * total, value)
        torch.testing.assert_close(gradient - plain.seen[0][name][1], wanted, rtol=1e-3, atol=1e-6)


def test_the_penalty_is_logged(base, tmp_path):
    runner = train(config(base, hook=dict(t_initial=0, t_final=2, target_rank=2)), tmp_path)
    logged = runner.message_hub.get_scalar('train/orthogonality').data[0]
    assert len(logged) == 12 and (logged > 0).all()
    other = train(config(base, 'LoRA', dict(t_initial=0, t_final=2, target_rank=2)), tmp_path / '1')
    assert 'train/orthogonality' not in other.message_hub.log_scalars


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize('options, message', [
    (dict(target_rank=0), 'target_rank in positive'), (dict(t_initial=-1), r't_initial in \[0,'),
    (dict(t_final=2.5), 't_final.*2.5'), (dict(delta_t=0), 'delta_t'), (dict(beta1=1), 'beta1'),
    (dict(beta2=-0.1), 'beta2'), (dict(orthogonality=-1), 'orthogonality'),
    (dict(penalty='norms'), "penalty='norms' is unknown.*norm"), (dict(min_rank=0), 'min_rank'),
])  # fmt: skip
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        AdaLoRAHook(**options)


@pytest.mark.parametrize('options, message', [
    (dict(target_rank=3.4), r'target_rank from 1 \(min_rank=1\) to 3.273.*22 streams.*got 3.4'),
    (dict(target_rank=1.5, min_rank=2), r'target_rank from 2 \(min_rank=2\)'),
    (dict(target_rank=2, t_initial=8, t_final=4), "no iteration of the run's 12"),
    (dict(target_rank=2, t_final=99), "no iteration of the run's 12"),
])  # fmt: skip
def test_budgets_that_cannot_be_met(base, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(config(base, hook=options), tmp_path)


def test_state_of_another_model(base, tmp_path):
    options = dict(target_rank=2, t_initial=0, t_final=1)
    train(config(base, hook=options), tmp_path)
    path = tmp_path / 'epoch_3.pth'
    saved = safe_load(path)
    del saved['adalora']['averages'][next(iter(saved['adalora']['averages']))]
    torch.save(saved, path)
    with pytest.raises(ValueError, match='AdaLoRAHook does not fit layer'):
        train(config(base, hook=options), tmp_path / 'b', resume=str(path))
