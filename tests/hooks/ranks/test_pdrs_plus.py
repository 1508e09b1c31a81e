"""faar+ in real runs and on the toy whose right rank is known."""

import runpy
from pathlib import Path

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import tiny, train, write_base
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as ROOT_HOOKS

from mtpeft.adapters import rank_pattern
from mtpeft.adapters.ranks.low_rank import pruned_parameters
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import PDRSHook, PDRSPlusHook
from mtpeft.hooks.ranks.pdrs_plus import Stream

TOY = runpy.run_path(str(Path(__file__).parents[3] / 'docs' / 'measure_rank_toy.py'))


def config(base, pdrs=None, kind='DoRA', **options):
    plugin = dict(cfg=dict(type=kind, rank=6, task_rank=4), targets=['fc1', 'fc2'], lanes='task')
    hook = dict(type='PDRSPlusHook', **(pdrs or {}))
    return tiny(base, model__backbone__plugins=[plugin], train_cfg__val_interval=10,
                default_hooks__pdrs=hook, **options)  # fmt: skip


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, PDRSPlusHook))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


@pytest.fixture(scope='module')
def found():
    """Final ranks of the published rule and of faar+, by true rank."""
    rules = {'published': lambda: PDRSHook(rho=0.95), 'faar+': lambda: PDRSPlusHook(eps=0.01)}
    return {
        name: {k: TOY['run'](rule(), k, seed=0, epochs=12, steps=50)[0] for k in (2, 8, 32)}
        for name, rule in rules.items()
    }


def test_the_toys_rank_is_found(found):
    assert found['faar+'][2] == 2 and found['faar+'][8] == 8
    assert 26 <= found['faar+'][32] <= 38


def test_true_ranks_are_told_apart_better_than_by_the_published_rule(found):
    errors = {
        name: sum(abs(rank - k) / k for k, rank in ranks.items()) / 3
        for name, ranks in found.items()
    }
    assert errors['faar+'] < 0.5 * errors['published']


def outputs(runner):
    model = runner.model.eval()
    with torch.no_grad():
        out = model(torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32))
    model.train()
    return out


@ROOT_HOOKS.register_module()
class Stir(Hook):
    """Starts adapters away from B = 0."""

    def before_train(self, runner):
        stir(runner.model, 0.1)


@pytest.mark.parametrize('kind', ['LoRA', 'DoRA', 'MTLoRA', 'SineAWB'])
def test_another_basis_leaves_the_function_as_it_is(base, tmp_path, kind):
    """eps=0 gives up nothing; weights and moments are of other components, the outputs are not."""
    cfg = config(base, dict(eps=0.0, shrink_every=2, until=1.0), kind, train_cfg__max_epochs=1)
    cfg.custom_hooks.append(dict(type='mmengine.Stir'))
    runner = train(cfg, tmp_path)
    hook, before = hook_of(runner), outputs(runner)
    moments = [
        {k: v.clone() for k, v in s.items() if torch.is_tensor(v)}
        for s in runner.optim_wrapper.optimizer.state.values()
    ]
    weights = {n: p.detach().clone() for n, p in runner.model.named_parameters()}
    hook.last = 99
    hook.shrink(runner)
    after = outputs(runner)
    for task in before:
        torch.testing.assert_close(after[task], before[task], rtol=1e-4, atol=1e-5)
    assert all(
        not torch.equal(p, weights[n])
        for n, p in runner.model.named_parameters()
        if n.endswith('.task_A')
    )
    if kind == 'SineAWB':
        # factors whose product is not all that counts are sorted, not mixed
        base_a = {n: p for n, p in runner.model.named_parameters() if n.endswith('.base_A')}
        assert base_a
        for name, p in base_a.items():
            assert torch.equal(p.sort(0).values, weights[name].sort(0).values)
    changed = [
        not torch.equal(v, old[k])
        for s, old in zip(runner.optim_wrapper.optimizer.state.values(), moments, strict=True)
        for k, v in s.items() if torch.is_tensor(v)
    ]  # fmt: skip
    assert any(changed) and not all(changed)


def test_moments_go_along_as_gradients_do(base, tmp_path):
    """beta = 0 makes the first moment the last gradient; both must change alike."""
    cfg = config(base, dict(eps=0.0, shrink_every=2, until=1.0), train_cfg__max_epochs=1,
                 optim_wrapper__optimizer__betas=(0.0, 0.0),
                 optim_wrapper__clip_grad=None)  # fmt: skip
    cfg.custom_hooks.append(dict(type='mmengine.Stir'))
    runner = train(cfg, tmp_path)
    hook, optimizer = hook_of(runner), runner.optim_wrapper.optimizer
    seen = 0
    for scored in hook.scored:
        for p in scored.group.parameters.values():
            if p in optimizer.state:
                p.grad = optimizer.state[p]['exp_avg'].clone()
                seen += 1
    hook.last = 99
    before = [p.detach().clone() for s in hook.scored for p in s.group.parameters.values()]
    hook.shrink(runner)
    after = [p for s in hook.scored for p in s.group.parameters.values()]
    assert seen and not all(map(torch.equal, before, after))
    for scored in hook.scored:
        for p in scored.group.parameters.values():
            if p in optimizer.state:
                torch.testing.assert_close(p.grad, optimizer.state[p]['exp_avg'])


def test_it_shrinks_then_stops_and_lets_go_of_truncation(base, tmp_path):
    cfg = config(base, dict(eps=0.3, until=0.6, max_drop=0.5), train_cfg__max_epochs=6)
    cfg.custom_hooks.append(dict(type='mmengine.Stir'))
    cfg.custom_hooks.append(dict(type='mmengine.Prefixes', priority='LOWEST'))
    runner = train(cfg, tmp_path)
    hook = hook_of(runner)
    assert [record['epoch'] for record in hook.history] == [0, 1, 2, 3]
    # the first period only changes the basis
    assert hook.history[1]['ranks'] == hook.history[0]['ranks'] != hook.history[3]['ranks']
    seen = next(h for h in runner.hooks if isinstance(h, Prefixes)).seen
    assert seen == [True] * 9 + [False] * 9
    assert all(0 <= spent <= 0.3 for values in hook.spent.values() for spent in values)
    assert any(spent > 0 for values in hook.spent.values() for spent in values)


@ROOT_HOOKS.register_module()
class Prefixes(Hook):
    """Which steps were truncated."""

    def before_run(self, runner):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(hook_of(runner).scored[0].group.prefix is not None)


def effective(runner):
    trainable = sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
    return trainable - pruned_parameters(runner.model)


def test_a_budget_is_met_to_one_component(base, tmp_path):
    start = effective(train(config(base, train_cfg__max_epochs=1), tmp_path / '0'))
    budget = start - 3000
    cfg = config(base, dict(budget=budget), train_cfg__max_epochs=4)
    cfg.custom_hooks.append(dict(type='mmengine.Stir'))
    runner = train(cfg, tmp_path / '1')
    largest = max(s.group.parameters_per_component for s in hook_of(runner).scored)
    assert budget - largest < effective(runner) <= budget
    ranks = {r for layer in rank_pattern(runner.model).values() for r in layer.values()}
    assert len(ranks) > 1
    sizes = [record['effective'] for record in hook_of(runner).history]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == start


@pytest.mark.parametrize('budget', [1, 10**9])
def test_a_budget_that_cannot_be_met(base, tmp_path, budget):
    with pytest.raises(ValueError, match=f'Expected a budget from .* got {budget:,}'):
        train(config(base, dict(budget=budget)), tmp_path)


@pytest.mark.parametrize('pdrs', [dict(scope_of_ledger='network'), dict(budget=20_000)])
def test_without_any_evidence_ranks_stay(base, tmp_path, pdrs):
    """Learning rate 0 leaves B = 0, where every derivative is 0."""
    cfg = config(base, pdrs, optim_wrapper__optimizer__lr=1e-30)
    runner = train(cfg, tmp_path)
    history = hook_of(runner).history
    assert len(history) == 3 and history[-1]['ranks'] == history[0]['ranks']


def test_one_ledger_knows_what_any_stream_spent(base, tmp_path):
    cfg = config(base, dict(scope_of_ledger='network', eps=0.2), train_cfg__max_epochs=1)
    hook = hook_of(train(cfg, tmp_path))
    streams = [
        Stream(s, i, None, torch.ones(s.group.rank).double())
        for s in hook.scored[:2] for i in range(len(s.group.streams))
    ]  # fmt: skip
    spent = {key: [0.0] * len(values) for key, values in hook.spent.items()}
    spent[streams[-1].scored.key][streams[-1].index] = 0.2
    kept = {}
    hook._spend(streams, kept, spent)
    assert kept == {id(s): len(s.worth) for s in streams}
    assert {spent[s.scored.key][s.index] for s in streams} == {0.2}


@ROOT_HOOKS.register_module()
class StopAfterTwo(Hook):
    """Ends a run as a kill after the second checkpoint would."""

    priority = 'LOWEST'

    def before_train_epoch(self, runner):
        if runner.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize('pdrs', [
    dict(eps=0.3), dict(eps=0.3, scope_of_ledger='network', by_epoch=False, shrink_every=2),
])  # fmt: skip
def test_resumed_runs_are_the_same_bit_for_bit(base, tmp_path, pdrs):
    def cfg(*more):
        cfg = config(base, pdrs, train_cfg__max_epochs=4, optim_wrapper__accumulative_counts=2)
        cfg.custom_hooks += [dict(type='EMAHook', momentum=0.1), *more]
        return cfg

    train(cfg(dict(type='mmengine.Stir')), tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        train(cfg(dict(type='mmengine.Stir'), dict(type='mmengine.StopAfterTwo')), tmp_path / 'cut')
    train(cfg(), tmp_path / 'cut', resume=True)
    whole, cut = (safe_load(tmp_path / name / 'epoch_4.pth') for name in ('whole', 'cut'))
    for part in ('state_dict', 'ema_state_dict'):
        assert whole[part].keys() == cut[part].keys()
        assert [k for k, v in whole[part].items() if not torch.equal(v, cut[part][k])] == []
    assert whole['pdrs']['history'] == cut['pdrs']['history']
    assert whole['pdrs']['spent'] == cut['pdrs']['spent']
    assert whole['meta']['rank_pattern'] != whole['pdrs']['history'][0]['ranks']


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(eps=1.0), r'eps in \[0, 1\)'),
        (dict(eps='a'), 'eps'),
        (dict(until=0), r'until in \(0'),
        (dict(max_drop=0), 'max_drop'),
        (dict(budget=1.5), 'budget'),
        (dict(scope_of_ledger='model'), "scope_of_ledger in .*'network'"),
        (dict(min_rank=0), 'min_rank'),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        PDRSPlusHook(**options)
