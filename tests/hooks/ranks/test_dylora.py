"""DyLoRA: what is drawn, used and updated, and the rank that is chosen afterwards."""

import copy

import numpy as np
import pytest
import torch
from helpers.adapter_grid import TASKS, stir
from helpers.engine import call_tool, tiny, train, write_base
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as ROOT_HOOKS
from torch import nn

from mtpeft.adapters import LaneBlock, adapt_layer, rank_pattern
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import DyLoRAHook
from mtpeft.hooks.ranks.rank_state import Tracked


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def hand_made(rank=4, task_rank=4, tasks=(), **options):
    torch.manual_seed(0)
    layer = adapt_layer(
        nn.Linear(6, 5), dict(type='LoRA', rank=rank, task_rank=task_rank, scale=2.0), tasks
    )
    layer.weight.requires_grad_(False)
    stir(layer)
    hook = DyLoRAHook(**options)
    hook.tracked = [Tracked('fc', group) for group in layer.adapter.groups.values()]
    return hook, layer.train()


# -- the draw --------------------------------------------------------------------------------------


@pytest.mark.parametrize('options, weights', [
    (dict(), [1, 1, 1, 1, 1]),
    (dict(min_rank=3), [0, 0, 1, 1, 1]),
    (dict(distribution='geometric', p=0.4), [0.6**b for b in range(5)]),
    (dict(distribution='geometric', p=0.4, min_rank=2), [0, *(0.6**b for b in range(4))]),
])  # fmt: skip
def test_what_is_drawn_has_the_distribution(options, weights):
    hook = DyLoRAHook(**options)
    share = (np.arange(100_000) + 0.5) / 100_000
    lengths = hook.lengths(share, np.full(len(share), 5))
    found = np.bincount(lengths, minlength=6)[1:] / len(share)
    np.testing.assert_allclose(found, np.array(weights) / sum(weights), atol=2e-5)


def test_streams_of_equal_rank_share_a_draw_unless_told_otherwise():
    hook, _ = hand_made(tasks=TASKS)
    for step in range(20):
        hook.draw(step)
        assert len({int(b) for t in hook.tracked for b in t.group.prefix}) == 1
    seen = [hook.tracked[1].group.prefix.tolist()]
    hook.draw(19)
    assert hook.tracked[1].group.prefix.tolist() == seen[0]
    hook, _ = hand_made(tasks=TASKS, scope='adapter')
    hook.draw(0)
    assert len({int(b) for t in hook.tracked for b in t.group.prefix}) > 1


# -- the forward pass and what is updated ----------------------------------------------------------


@pytest.mark.parametrize('rescale', [True, False])
def test_the_pass_is_that_of_the_cut_matrices(rescale):
    hook, layer = hand_made(rescale=rescale)
    x, a, b = torch.randn(3, 6), layer.adapter.A, layer.adapter.B
    seen = set()
    for step in range(12):
        hook.draw(step)
        k = int(hook.tracked[0].group.prefix)
        seen.add(k)
        gain = 4 / k if rescale else 1
        expected = layer.frozen(x) + 2.0 * gain * (x @ a[:k].T) @ b[:, :k].T
        torch.testing.assert_close(layer(x), expected)
        # evaluation uses all components, without a factor
        layer.eval()
        torch.testing.assert_close(layer(x), layer.frozen(x) + 2.0 * (x @ a.T) @ b.T)
        layer.train()
    assert seen == {1, 2, 3, 4}


@pytest.mark.parametrize('update', ['prefix', 'single'])
def test_what_is_updated(update):
    hook, layer = hand_made(tasks=TASKS, update=update, scope='adapter')
    block = LaneBlock(nn.Sequential(layer), TASKS, lambda block, x: block(x))
    for step in range(4):
        layer.zero_grad()
        hook.draw(step)
        shared, lanes = block(torch.randn(3, 6))
        (shared.square().sum() + lanes.square().sum()).backward()
        plain = {n: p.grad.clone() for n, p in layer.adapter.named_parameters()}
        hook.observe()
        for tracked in hook.tracked:
            group = tracked.group
            for index, k in enumerate(group.prefix.tolist()):
                for name, parameter in group.parameters.items():
                    rows = group.moved(name, parameter.grad)[index]
                    before = group.moved(name, plain[name])[index]
                    kept = [k - 1] if update == 'single' else range(k)
                    for i in range(group.rank):
                        wanted = before[i] if i in kept else torch.zeros_like(before[i])
                        assert torch.equal(rows[i], wanted)
                    assert before[:k].abs().sum(1).min() > 0


# -- runs ------------------------------------------------------------------------------------------


@ROOT_HOOKS.register_module()
class StirForDyLoRA(Hook):
    """Starts adapters away from B = 0."""

    def before_train(self, runner):
        stir(runner.model, 0.1)


def config(base, hook, kind='DoRA', **options):
    plugin = dict(cfg=dict(type=kind, rank=4, task_rank=3), targets=['fc1', 'fc2'], lanes='task')
    cfg = tiny(base, model__backbone__plugins=[plugin], train_cfg__max_epochs=1,
               train_cfg__val_interval=9, default_hooks__rank=dict(type='DyLoRAHook', **hook),
               **options)  # fmt: skip
    cfg.custom_hooks.append(dict(type='mmengine.StirForDyLoRA'))
    return cfg


def outputs(model):
    """Outputs for one picture."""
    picture = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    with torch.no_grad():
        return model(picture)


@pytest.mark.parametrize('kind', ['LoRA', 'DoRA', 'SineAWB'])
@pytest.mark.parametrize('rescale', [True, False])
def test_a_published_rank_computes_what_training_at_that_rank_did(base, tmp_path, kind, rescale):
    cfg = config(base, dict(rescale=rescale), kind)
    runner = train(cfg, tmp_path)
    hook = next(h for h in runner.hooks if isinstance(h, DyLoRAHook))
    out = tmp_path / 'two.safetensors'
    call_tool('tools/model_converters/publish_model.py', tmp_path / 'epoch_1.pth', out,
              '--rank', '2')  # fmt: skip
    saved = safe_load(out)
    ranks = {r for layer in saved['meta']['rank_pattern'].values() for r in layer.values()}
    assert ranks == {2}
    fresh = build_runner(cfg, work_dir=str(tmp_path / 'fresh')).model
    fresh.load_state_dict({**runner.model.state_dict(), **saved['state_dict']}, strict=True)
    assert {r for layer in rank_pattern(fresh).values() for r in layer.values()} == {2}
    # the pass of training, its other randomness taken out: only adapters are in training mode
    model = runner.model.eval()
    for tracked in hook.tracked:
        group = tracked.group
        group.adapter.train()
        group.adapter.dropout.eval()
        group.prefix = torch.full((len(group.streams),), 2)
        group.prefix_gain = group.rank / group.prefix if rescale else None
    wanted, found = outputs(model), outputs(fresh.eval())
    for task in wanted:
        torch.testing.assert_close(found[task], wanted[task], rtol=1e-4, atol=1e-5)
    hook.use_all()
    whole = outputs(model.eval())
    assert any((whole[t] - wanted[t]).abs().max() > 1e-4 for t in whole)


def test_a_rank_at_the_end_is_what_publishing_it_gives(base, tmp_path):
    whole = train(config(base, {}), tmp_path / 'whole')
    short = train(config(base, dict(rank=2)), tmp_path / 'short')
    assert {r for layer in rank_pattern(short.model).values() for r in layer.values()} == {2}
    call_tool('tools/model_converters/publish_model.py', f'{whole.work_dir}/epoch_1.pth',
              tmp_path / 'a.safetensors', '--rank', '2')  # fmt: skip
    one = safe_load(tmp_path / 'a.safetensors')
    other = safe_load(f'{short.work_dir}/epoch_1.pth')
    assert one['meta']['rank_pattern'] == other['meta']['rank_pattern']
    for key, value in other['state_dict'].items():
        torch.testing.assert_close(one['state_dict'][key], value), key
    assert [r['iter'] for r in other['dylora']['history']] == [0, 3]


def test_nothing_is_pruned_and_the_average_is_cut_too(base, tmp_path):
    cfg = config(base, dict(rank=1))
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5, begin_iter=3))
    runner = build_runner(copy.deepcopy(cfg), work_dir=str(tmp_path))
    seen = []

    class Watch(Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append({r for layer in rank_pattern(runner.model).values()
                         for r in layer.values()})  # fmt: skip

    runner.register_hook(Watch())
    runner.train()
    assert seen == [{3, 4}] * 3
    # an average that has not begun is a copy, so it must have been cut alike
    saved = safe_load(tmp_path / 'epoch_1.pth')
    for key, value in saved['state_dict'].items():
        assert torch.equal(value, saved['ema_state_dict'][f'module.{key}']), key


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize('options, message', [
    (dict(distribution='uniforn'), "distribution='uniforn' is unknown.*'uniform'"),
    (dict(update='one'), "update='one' is unknown.*single"), (dict(p=1.0), r'p in \(0, 1\)'),
    (dict(min_rank=0), 'min_rank to be an integer from 1'), (dict(rank=1.5), 'rank to be.*1.5'),
    (dict(scope='all'), "scope='all' is unknown.*step"),
])  # fmt: skip
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        DyLoRAHook(**options)


def test_ranks_that_no_adapter_has(base, tmp_path):
    with pytest.raises(ValueError, match='Expected rank to be at most 4.*got 5'):
        train(config(base, dict(rank=5)), tmp_path)


def test_publishing_another_rank_needs_dylora(base, tmp_path):
    cfg = config(base, {})
    cfg.default_hooks.pop('rank')
    train(cfg, tmp_path)
    with pytest.raises(SystemExit, match='DyLoRAHook'):
        call_tool('tools/model_converters/publish_model.py', tmp_path / 'epoch_1.pth',
                  tmp_path / 'a.safetensors', '--rank', '2')  # fmt: skip
