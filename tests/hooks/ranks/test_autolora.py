"""AutoLoRAHook: what is held out, the gradient of alpha, and what the end of the search leaves."""

import copy

import numpy as np
import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import tiny, train, write_base
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as ROOT_HOOKS
from torch import nn
from torch.utils.data import DataLoader

from mtpeft.adapters import adapt_layer, rank_pattern
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import AutoLoRAHook
from mtpeft.hooks.ranks.held_out import HeldOut


@ROOT_HOOKS.register_module()
class StirForAutoLoRA(Hook):
    """Starts adapters away from B = 0."""

    def before_train(self, runner):
        if runner.iter == 0:
            stir(runner.model, 0.1)


def config(base, hook=None, kind='LoRA', **options):
    plugins = [dict(cfg=dict(type=kind, rank=4, task_rank=3), targets=['fc1', 'fc2'], lanes='task')]
    hook = dict(type='AutoLoRAHook', **{'holdout': 0.34, **(hook or {})})
    options = {'train_cfg__max_epochs': 1, **options}
    cfg = tiny(base, model__backbone__plugins=plugins, train_cfg__val_interval=9,
               param_scheduler=[], default_hooks__rank=hook, **options)  # fmt: skip
    cfg.custom_hooks.append(dict(type='mmengine.StirForAutoLoRA'))
    return cfg


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, AutoLoRAHook))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


# -- the split -------------------------------------------------------------------------------------


def loader(sampler=DefaultSampler, count=20, workers=0):
    data = list(range(count))
    return DataLoader(data, batch_size=4, sampler=sampler(data, shuffle=True, seed=5),
                      num_workers=workers)  # fmt: skip


@pytest.mark.parametrize('workers', [0, 1])
def test_held_out_pictures_do_not_come(workers):
    one = loader(workers=workers)
    held = HeldOut(one, 0.3, seed=1)
    assert len(held.indices) == 6 and len(held.training) == 14
    assert sorted([*held.indices, *held.training]) == list(range(20))
    held.withhold()
    held.withhold()  # a second run of the same loader
    seen = []
    for epoch in range(6):
        one.sampler.set_epoch(epoch)
        batches = [batch.tolist() for batch in one]
        assert [len(batch) for batch in batches] == [4] * 5
        seen += [i for batch in batches for i in batch]
    assert set(seen) == set(held.training.tolist())


def test_what_comes_is_the_samplers_order_where_it_may():
    plain, one = loader(), loader()
    HeldOut(one, 0.3, seed=1).withhold()
    for wanted, found in zip(list(plain.sampler), list(one.batch_sampler.sampler), strict=True):
        assert found == wanted or wanted in HeldOut(plain, 0.3, seed=1).indices


def test_an_endless_sampler_too():
    one = loader(InfiniteSampler)
    held = HeldOut(one, 0.3, seed=1)
    held.withhold()
    batches = iter(one)
    seen = {i for _ in range(40) for i in next(batches).tolist()}
    assert seen == set(held.training.tolist())


def test_the_split_follows_from_the_seed_and_batches_from_the_step():
    splits = [HeldOut(loader(), 0.3, seed).indices.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]
    held, again = HeldOut(loader(), 0.3, seed=1), HeldOut(loader(), 0.3, seed=1)
    batches = [held.batch(step).tolist() for step in range(9)]
    assert again.batch(7).tolist() == batches[7]
    # 9 batches of 4 are six passes over six pictures
    counts = np.bincount(sum(batches, []), minlength=20)
    assert set(counts[held.indices]) == {6} and counts.sum() == 36


def test_the_network_never_learns_from_them(base, tmp_path):
    """Twelve pictures over two epochs: a third of them reaches nothing but alpha."""
    cfg = config(base, train_cfg__max_epochs=2, train_dataloader__dataset__length=12)
    runner, seen = build_runner(cfg, work_dir=str(tmp_path)), set()

    class Watch(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.update(sample.sample_idx for sample in data_batch['data_samples'])

    runner.register_hook(Watch())
    runner.train()
    held = hook_of(runner).held_out
    assert len(held.indices) == 4 and seen and not seen & set(held.indices.tolist())


def test_steps_of_alpha_leave_the_network_as_it_is(base, tmp_path):
    runner = train(config(base, dict(until=1.0)), tmp_path)
    hook = hook_of(runner)
    hook.now, hook.last = 0, 99
    runner.model.train()
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    gradients = [p.grad for p in runner.model.parameters()]
    logits = [t.logits.detach().clone() for t in hook.tracked]
    hook._step(runner, hook.held_out.batch(0))
    assert runner.model.training
    after = runner.model.state_dict()
    assert [k for k in before if not torch.equal(before[k], after[k])] == []
    assert all(a is p.grad for a, p in zip(gradients, runner.model.parameters(), strict=True))
    assert any(not torch.equal(a, t.logits) for a, t in zip(logits, hook.tracked, strict=True))


# -- alpha -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['LoRA', 'DoRA', 'SineAWB', 'AdaLoRA'])
def test_the_gradient_of_alpha_by_finite_differences(base, tmp_path, kind):
    cfg = config(base, dict(until=1.0), kind)
    if kind == 'DoRA':  # by default its gradient leaves out the norm
        cfg.model.backbone.plugins[0].cfg.detach_norm = False
    runner = build_runner(cfg, work_dir=str(tmp_path))
    checked = {}

    class Check(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if batch_idx == 2:
                checked.update(self.differences(runner))

        @staticmethod
        def differences(runner):
            hook = hook_of(runner)
            batch = hook.held_out.batch(3)
            # far from the start, so that rounding of the loss does not count
            stir(runner.model, 0.4)
            found, slopes = hook.gradients(runner, batch), []
            for tracked, gradient in zip(hook.tracked, found, strict=True):
                index = gradient.abs().flatten().argmax().item()
                values = []
                for sign in (1, -1):
                    flat = tracked.logits.data.view(-1)
                    flat[index] += sign * 1e-2
                    values.append(float(hook.loss(runner, batch).detach()))
                    flat[index] -= sign * 1e-2
                slopes.append((gradient.flatten()[index].item(), (values[0] - values[1]) / 2e-2))
            return dict(slopes=slopes)

    runner.register_hook(Check())
    runner.train()
    slopes = np.array(checked['slopes'])
    largest = np.abs(slopes).max()
    assert largest > 1e-3
    np.testing.assert_allclose(slopes[:, 0], slopes[:, 1], rtol=0.02, atol=5e-3 * largest)


def test_weights_sum_to_one_and_start_equal():
    adapter = adapt_layer(nn.Linear(6, 5), dict(type='LoRA', rank=4)).adapter
    tracked = AutoLoRAHook().track('fc', adapter.groups['shared'])
    assert torch.equal(tracked.alpha(), torch.full((1, 4), 0.25))
    adapter.groups['shared'].active = [3]
    tracked.logits.data[0] = torch.tensor([0.0, 1.0, 2.0, 9.0])
    alpha = tracked.alpha()[0]
    assert alpha[3] == 0 and alpha.sum().item() == pytest.approx(1)
    assert (alpha[1] / alpha[0]).item() == pytest.approx(np.e)


@pytest.mark.parametrize('options, alpha, kept', [
    ({}, [0.25] * 4, [0, 1, 2, 3]),
    ({}, [0.1, 0.4, 0.2, 0.3], [1, 3]),
    (dict(threshold=0.15), [0.1, 0.4, 0.2, 0.3], [1, 3, 2]),
    (dict(threshold=0.9), [0.1, 0.4, 0.2, 0.3], [1]),
    (dict(threshold=0.9, min_rank=2), [0.1, 0.4, 0.2, 0.3], [1, 3]),
])  # fmt: skip
def test_what_a_threshold_keeps(options, alpha, kept):
    assert AutoLoRAHook(**options).select(torch.tensor(alpha)).tolist() == kept


# -- the end of the search -------------------------------------------------------------------------


def test_alpha_goes_into_the_factor_and_moments_go_along(base, tmp_path):
    """A threshold that keeps all: the function stays; beta = 0 makes moments the last gradient."""
    cfg = config(base, dict(until=1.0, threshold=1e-6, lr=0.3), optim_wrapper__clip_grad=None,
                 optim_wrapper__optimizer__betas=(0.0, 0.0))  # fmt: skip
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.3))
    runner, kept = build_runner(cfg, work_dir=str(tmp_path)), {}
    picture = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)

    def outputs(runner):
        with torch.no_grad():
            found = runner.model.eval()(picture)
        runner.model.train()
        return found

    class Look(Hook):
        priority = 'BELOW_NORMAL'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs_=None, **_):
            hook = hook_of(runner)
            if batch_idx != 2 or kept:
                return
            finish = hook._finish

            def looked(runner):
                kept['before'] = outputs(runner)
                kept['moments'] = self.moments(runner)
                kept['alpha'] = [t.alpha().detach().clone() for t in hook.tracked]
                finish(runner)
                kept['after'] = outputs(runner)
                kept['changed'] = self.moments(runner)

            hook._finish = looked

        @staticmethod
        def moments(runner):
            state = runner.optim_wrapper.optimizer.state
            return [
                {k: t.group.moved(t.group.last, v).clone()
                 for k, v in state.get(t.group.parameters[t.group.last], {}).items() if v.ndim}
                for t in hook_of(runner).tracked
            ]  # fmt: skip

    # before the hook of the same priority
    runner._hooks.insert(0, Look())
    runner.train()
    hook = hook_of(runner)
    assert rank_pattern(runner.model) == hook.history[0]['ranks'] and len(hook.history) == 2
    for task, value in kept['before'].items():
        torch.testing.assert_close(kept['after'][task], value, rtol=1e-4, atol=1e-5)
    for alpha, before, after in zip(kept['alpha'], kept['moments'], kept['changed'], strict=True):
        order = alpha.argsort(1, descending=True)
        for stream, kept_order in enumerate(order):
            for name, power in (('exp_avg', 1), ('exp_avg_sq', 2)):
                if not before:
                    continue
                weights = alpha[stream][kept_order].view(-1, 1) ** power
                wanted = before[name][stream][kept_order].flatten(1) / weights
                torch.testing.assert_close(after[name][stream].flatten(1), wanted)


def test_the_search_ends_and_the_run_goes_on(base, tmp_path):
    cfg = config(base, dict(until=0.5, lr=1.0), train_cfg__max_epochs=2)
    runner = train(cfg, tmp_path)
    hook = hook_of(runner)
    assert [r['iter'] for r in hook.history] == [0, 3]
    for layer, ranks in rank_pattern(runner.model).items():
        for stream, rank in ranks.items():
            idle = stream == 'shared' and 'layers.3' in layer
            assert rank == 4 if idle else 1 <= rank < hook.history[0]['ranks'][layer][stream]
    saved = safe_load(tmp_path / 'epoch_2.pth')
    assert saved['autolora'].keys() == {'history', 'skipped'}


def test_a_restart_leaves_no_effect_but_the_ranks(base, tmp_path):
    cfg = config(base, dict(until=1.0, lr=1.0, restart=True))
    runner = train(cfg, tmp_path)
    for tracked in hook_of(runner).tracked:
        group = tracked.group
        assert group.parameters[group.last].abs().sum() == 0
        assert group.parameters[next(iter(group.factors))].abs().sum() > 0
    other = train(config(base, dict(until=1.0, lr=1.0)), tmp_path / 'b')
    assert rank_pattern(other.model) == rank_pattern(runner.model)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize('options, message', [
    (dict(holdout=0), r'holdout in \(0, 1\)'), (dict(until=1.5), 'until in'),
    (dict(every=0), 'every in'), (dict(lr=0), 'lr in'), (dict(threshold=1), 'threshold in'),
    (dict(min_rank=0), 'min_rank in'),
])  # fmt: skip
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        AutoLoRAHook(**options)


def test_a_data_set_too_small_to_split(base, tmp_path):
    with pytest.raises(ValueError, match='holdout=0.01 of 6 training pictures is 0'):
        train(config(base, dict(holdout=0.01)), tmp_path)


def test_state_of_another_model(base, tmp_path):
    cfg = config(base, dict(until=1.0), train_cfg__max_epochs=2)
    train(copy.deepcopy(cfg), tmp_path)
    path = tmp_path / 'epoch_1.pth'
    saved = safe_load(path)
    del saved['autolora']['logits'][next(iter(saved['autolora']['logits']))]
    torch.save(saved, path)
    with pytest.raises(ValueError, match='AutoLoRAHook does not fit layer'):
        train(cfg, tmp_path / 'b', resume=str(path))
