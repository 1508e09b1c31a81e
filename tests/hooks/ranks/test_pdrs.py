"""PDRSHook in real runs: what is scored, what is kept, and that a run can be resumed."""

import math

import pytest
import torch
from helpers.adapter_grid import label, low_rank_methods, stir
from helpers.engine import tiny, train, write_base
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as ROOT_HOOKS
from torch import nn

from mtpeft.adapters import adapt_layer, low_rank_adapters, rank_pattern
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import PDRSHook
from mtpeft.hooks.ranks.pdrs_state import Scored

DORA = dict(type='DoRA', rank=6, task_rank=4)


def config(base, adapter=DORA, pdrs=None, **options):
    plugins = [dict(cfg=dict(adapter), targets=['fc1', 'fc2'], lanes='task')]
    return tiny(base, model__backbone__plugins=plugins, train_cfg__val_interval=10,
                default_hooks__pdrs=dict(type='PDRSHook', **(pdrs or {})), **options)  # fmt: skip


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, PDRSHook))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


@ROOT_HOOKS.register_module()
class KeepScores(Hook):
    """Starts adapters away from B = 0, where scores are 0, and keeps the scores of each step."""

    priority = 'LOWEST'

    def before_run(self, runner):
        self.seen = []

    def before_train(self, runner):
        stir(runner.model, 0.1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append({s.key: s.score.clone() for s in hook_of(runner).scored})


def scores(base, tmp_path, steps=2, **options):
    cfg = config(base, pdrs=dict(beta=0.0, start_epoch=99), train_cfg__max_epochs=1, **options)
    cfg.custom_hooks.append(dict(type='mmengine.KeepScores'))
    runner = build_runner(cfg, work_dir=str(tmp_path))
    runner.train()
    return next(h for h in runner.hooks if isinstance(h, KeepScores)).seen


# -- what is scored --------------------------------------------------------------------------------


def test_clipping_and_loss_scale_do_not_change_scores(base, tmp_path):
    plain = scores(base, tmp_path / '0', optim_wrapper__clip_grad=None)[0]
    clipped = scores(base, tmp_path / '1', optim_wrapper__clip_grad=dict(max_norm=1e-4))[0]
    by_value = scores(
        base,
        tmp_path / '2',
        optim_wrapper__clip_grad=dict(_delete_=True, type='value', clip_value=1e-5),
    )[0]
    assert any(score.max() > 0 for score in plain.values())
    for key in plain:
        torch.testing.assert_close(clipped[key], plain[key])
        torch.testing.assert_close(by_value[key], plain[key])


def test_accumulated_batches_are_scored_as_one(base, tmp_path):
    """Two batches of 2 in one step give the scores of one batch of 4."""
    common = dict(model__backbone__backbone__drop_path_rate=0.0, adapter=dict(DORA),
                  optim_wrapper__clip_grad=dict(max_norm=1e-3),
                  train_dataloader__sampler__shuffle=False,
                  train_dataloader__dataset__length=4)  # fmt: skip
    # no BatchNorm statistics over the batch: they depend on how it is split
    head = dict(type='mmseg.FCNHead', in_index=0, channels=4, num_convs=1, norm_cfg=None,
                dropout_ratio=0.0)  # fmt: skip
    frozen = dict(model__decoder=dict(type='MultiHeadDecoder', head=head))
    # semseg's loss is a mean over valid pixels: equal in both batches, since all are valid
    whole = scores(base, tmp_path / '1', train_dataloader__batch_size=4, **common, **frozen)
    parts = scores(base, tmp_path / '2', train_dataloader__batch_size=2,
                   optim_wrapper__accumulative_counts=2, **common, **frozen)  # fmt: skip
    assert len(whole) == 1 and len(parts) == 2
    assert all(score.abs().max() == 0 for score in parts[0].values())
    for key in whole[0]:
        torch.testing.assert_close(parts[1][key], whole[0][key], rtol=2e-3, atol=1e-7)


def test_checkpointing_sees_the_same_draw(base, tmp_path):
    plain = scores(base, tmp_path / '0', model__backbone__backbone__drop_path_rate=0.0)
    again = scores(base, tmp_path / '1', model__backbone__backbone__drop_path_rate=0.0,
                   model__backbone__with_cp=True)  # fmt: skip
    for one, other in zip(plain, again, strict=True):
        for key in one:
            torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-9)


def test_steps_that_are_not_finite_are_counted_and_not_scored(base, tmp_path, caplog):
    cfg = config(base, model__check_finite=False, train_cfg__max_epochs=1)
    cfg.custom_hooks.append(dict(type='mmengine.KeepScores'))
    runner = build_runner(cfg, work_dir=str(tmp_path))
    state = {}

    class Break(Hook):
        priority = 'LOWEST'

        def before_train(self, runner):
            wrapper = runner.optim_wrapper
            clip = wrapper.clip_func

            def broken(params, **kwargs):
                hook = hook_of(runner)
                if runner.iter == 1:
                    state['before'] = [s.score.clone() for s in hook.scored]
                    for p in params:
                        p.grad[...] = math.nan
                    hook._score()
                    state['after'] = [s.score.clone() for s in hook.scored]
                    for p in params:
                        p.grad[...] = 0
                return clip(params, **kwargs)

            wrapper.clip_func = broken

    runner.register_hook(Break())
    runner.train()
    assert hook_of(runner).skipped == 1
    assert all(map(torch.equal, state['before'], state['after']))
    assert any(score.max() > 0 for score in state['before'])


# -- what is kept ----------------------------------------------------------------------------------


def hand_made(rank=8, rho=0.9, margin=0, **options):
    """A hook on one layer whose components all have score 1 when they are in use."""
    layer = adapt_layer(nn.Linear(rank, rank), dict(type='LoRA', rank=rank))
    hook = PDRSHook(rho=rho, margin=margin, **options)
    hook.scored = [Scored.of('fc', layer.adapter.groups['shared'])]
    hook.skipped = torch.zeros((), dtype=torch.long)
    return hook, layer.adapter


def one_step(hook, adapter, step):
    hook.draw(step)
    group = hook.scored[0].group
    used = (torch.arange(group.rank) < group.prefix[:, None])[0].float()
    adapter.A.data[...] = 1
    adapter.B.data[...] = 1
    adapter.A.grad = used[:, None].expand_as(adapter.A) / adapter.A.shape[1]
    adapter.B.grad = used.expand_as(adapter.B) / adapter.B.shape[0]
    hook._score()


def shrink(hook):
    scored = hook.scored[0]
    scored.keep(0, hook.select(scored, 0), lambda p: [p.data], [])
    return scored.group.active[0]


@pytest.mark.parametrize('rho, margin, end', [(0.80, 0, 2), (0.90, 0, 3), (0.95, 0, 5),
                                              (0.80, 1, 4), (0.95, 1, 10)])  # fmt: skip
def test_sampled_draws_end_within_two_of_the_fixed_point(rho, margin, end):
    """150 steps an epoch of equally useful components: the published rule shrinks them too."""
    hook, adapter = hand_made(rank=64, rho=rho, margin=margin)
    ranks = []
    for step in range(40 * 150):
        one_step(hook, adapter, step)
        if step % 150 == 149:
            ranks.append(shrink(hook))
    assert ranks == sorted(ranks, reverse=True)
    assert abs(ranks[-1] - end) <= 2


def test_debiased_scores_of_equally_useful_components_are_equal():
    hook, adapter = hand_made(rank=16, rho=0.95, debias=True)
    for step in range(600):
        one_step(hook, adapter, step)
    scored = hook.scored[0]
    torch.testing.assert_close(scored.debiased(0), torch.ones(16))
    assert shrink(hook) == 16  # 95 % of 16 equal ones is more than 15 of them
    assert scored.score[0, 0] > 2 * scored.score[0, -1]


def test_scores_are_cut_at_a_multiple_of_their_median_over_all_components():
    hook, adapter = hand_made(rank=8, beta=0.0, clamp=100)
    group, scored = hook.scored[0].group, hook.scored[0]
    sizes = torch.tensor([1e6, 3.0, 5.0, 2.0, 7.0, 4.0, 6.0, 1.0])
    for used, wanted in [(8, sizes.clamp(max=400)), (5, sizes.clamp(max=200)), (4, sizes * 0)]:
        group.prefix = torch.tensor([used])
        mask = torch.arange(8) < used
        adapter.A.data[...] = adapter.B.data[...] = 1
        adapter.A.grad = (sizes * mask / 8)[:, None].expand_as(adapter.A).contiguous()
        adapter.B.grad = (sizes * mask / 8).expand_as(adapter.B).contiguous()
        hook._score()
        torch.testing.assert_close(scored.score[0], wanted * mask, rtol=1e-5, atol=1e-11)
    # the median of a half that is 0 is 0: components in use have one tiny score, the others none
    assert scored.score[0].unique().tolist() == [0, pytest.approx(1e-12)]


def test_the_released_recipe_ends_at_the_least_rank_in_a_few_epochs():
    """rho .2, one more, at least 2: 32, then at most 6, then 2."""
    hook, adapter = hand_made(rank=32, rho=0.2, margin=1, min_rank=2, clamp=100)
    ranks = []
    for step in range(4 * 150):
        one_step(hook, adapter, step)
        if step % 150 == 149:
            ranks.append(shrink(hook))
    assert 4 <= ranks[0] <= 6 and ranks[-1] == 2


def test_the_average_is_one_over_time():
    hook, adapter = hand_made(rank=4, beta=0.75)
    expected = torch.zeros(4)
    for step in range(20):
        one_step(hook, adapter, step)
        used = (torch.arange(4) < hook.scored[0].group.prefix).float()
        expected = 0.75 * expected + 0.25 * used
    torch.testing.assert_close(hook.scored[0].score[0], expected)
    torch.testing.assert_close(hook.scored[0].activity[0], expected)


def test_draws_are_uniform_and_follow_from_seed_and_step():
    hook, _ = hand_made(rank=5)
    drawn = []
    for step in range(2000):
        hook.draw(step)
        drawn.append(int(hook.scored[0].group.prefix))
    counts = torch.bincount(torch.tensor(drawn), minlength=6)
    assert counts[0] == 0 and len(counts) == 6
    # 400 expected of each, standard deviation 18
    assert (counts[1:] - 400).abs().max() < 90
    hook.draw(77)
    assert int(hook.scored[0].group.prefix) == drawn[77]


def test_one_draw_a_step_for_all(base, tmp_path):
    runner = train(config(base, pdrs=dict(scope='step'), train_cfg__max_epochs=1), tmp_path)
    hook = hook_of(runner)
    for step in range(30):
        hook.draw(step)
        shares = [
            (int(b) - 1, a)
            for s in hook.scored
            for a, b in zip(s.group.active, s.group.prefix, strict=True)
        ]
        low = max(b / a for b, a in shares)
        high = min((b + 1) / a for b, a in shares)
        assert low < high  # one share of every rank gives them all
    hook.scope = 'adapter'
    hook.draw(0)
    assert len({int(b) for s in hook.scored for b in s.group.prefix}) > 1


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(rho=0.5), 2), (dict(rho=0.5, margin=1), 3), (dict(rho=0.5, min_rank=4), 4),
        (dict(rho=0.5, min_rank=99), 6), (dict(rho=1.0), 5), (dict(rho=0.5, rho_shared=0.99), 4),
    ],
)  # fmt: skip
def test_what_is_selected(options, expected):
    hook, _ = hand_made(rank=6, **options)
    scored = hook.scored[0]
    scored.score[0] = torch.tensor([0.01, 1.0, 4.0, 0.0, 3.0, 2.0])
    order = hook.select(scored, 0).tolist()
    assert order == [2, 4, 5, 1, 0, 3][:expected]


def test_without_effect_the_rank_stays():
    hook, _ = hand_made(rank=6)
    assert hook.select(hook.scored[0], 0).tolist() == list(range(6))


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('adapter', low_rank_methods(), ids=label)
def test_every_low_rank_adapter_shrinks(base, tmp_path, adapter):
    adapter = {**adapter, 'rank': 6, 'task_rank': 4}
    runner = train(config(base, adapter, dict(rho=0.6)), tmp_path)
    adapters = low_rank_adapters(runner.model)
    unused = runner.model.backbone.unused_parameter_names()
    start = hook_of(runner).history[0]['ranks']
    for layer, ranks in rank_pattern(runner.model).items():
        for stream, rank in ranks.items():
            group = adapters[layer].groups.get(stream)
            first = next(iter(group.factors)) if group else None
            useless = f'{layer}.adapter.{first}'.removeprefix('backbone.') in unused
            assert rank == start[layer][stream] if useless else rank < start[layer][stream]
    for adapter in adapters.values():
        for group in adapter.groups.values():
            assert group.prefix is None
            for name, p in group.parameters.items():
                state = runner.optim_wrapper.optimizer.state[p]
                tensors = [p, *(t for t in state.values() if t.shape == p.shape)]
                assert len(tensors) == (3 if state else 1)
                for index, active in enumerate(group.active):
                    for tensor in tensors:
                        assert group.moved(name, tensor)[index, active:].abs().sum() == 0


def test_moments_are_sorted_with_their_components(base, tmp_path):
    runner = train(config(base, pdrs=dict(start_epoch=9), train_cfg__max_epochs=1), tmp_path)
    hook = hook_of(runner)
    scored = next(s for s in hook.scored if s.group.stacked)
    p = scored.group.parameters['task_A']
    moment = runner.optim_wrapper.optimizer.state[p]['exp_avg_sq']
    before, moments = p.detach().clone(), moment.clone()
    order = scored.score[1].argsort(descending=True)
    kept = hook.select(scored, 1)
    assert torch.equal(kept, order[: len(kept)])
    hook.shrink(runner)
    torch.testing.assert_close(p[1, : len(kept)], before[1, kept])
    torch.testing.assert_close(moment[1, : len(kept)], moments[1, kept])
    assert moments[1, kept].abs().sum() > 0


def state(path):
    saved = safe_load(path)
    leaves = dict(saved['state_dict'])
    leaves |= {f'ema.{k}': v for k, v in saved.get('ema_state_dict', {}).items()}
    for key, value in saved['pdrs']['scores'].items():
        leaves |= {f'score.{key}': value['score'], f'activity.{key}': value['activity']}
    for index, values in saved['optimizer']['state'].items():
        leaves |= {f'optimizer.{index}.{k}': v for k, v in values.items()}
    return leaves, saved


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_resumed_runs_are_the_same_bit_for_bit(base, tmp_path, by_epoch, update_buffers):
    """With accumulation over the end of an epoch, an EMA copy, and shrinking within epochs."""
    pdrs = dict(rho=0.6, by_epoch=by_epoch, shrink_every=1 if by_epoch else 2)

    def cfg(epochs):
        cfg = config(base, pdrs=pdrs, optim_wrapper__accumulative_counts=2)
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1, update_buffers=update_buffers))
        if epochs == 1:
            cfg.custom_hooks.append(dict(type='mmengine.StopAfterOne'))
        return cfg

    train(cfg(3), tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        train(cfg(1), tmp_path / 'cut')
    train(cfg(3), tmp_path / 'cut', resume=True)
    (whole, saved), (cut, other) = (state(tmp_path / n / 'epoch_3.pth') for n in ('whole', 'cut'))
    assert whole.keys() == cut.keys()
    assert [k for k in whole if not torch.equal(whole[k], cut[k])] == []
    assert saved['pdrs']['history'] == other['pdrs']['history']
    assert saved['meta']['rank_pattern'] == other['meta']['rank_pattern']
    ranks = [r for layer in saved['meta']['rank_pattern'].values() for r in layer.values()]
    assert min(ranks) < 4


@ROOT_HOOKS.register_module()
class StopAfterOne(Hook):
    """Ends a run as a kill after the first checkpoint would."""

    priority = 'LOWEST'

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            raise KeyboardInterrupt


def test_the_ema_copy_has_the_same_components(base, tmp_path):
    """Before it begins, an average is a copy: after two shrinkings it is still the model."""
    cfg = config(base, pdrs=dict(rho=0.7))
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.5, begin_epoch=3))
    runner = train(cfg, tmp_path)
    saved = safe_load(tmp_path / 'epoch_2.pth')
    ranks = [r for layer in saved['meta']['rank_pattern'].values() for r in layer.values()]
    assert min(ranks) < 4
    for key, value in saved['state_dict'].items():
        assert torch.equal(value, saved['ema_state_dict'][f'module.{key}']), key
    copy = next(h for h in runner.hooks if hasattr(h, 'ema_model')).ema_model.module
    assert rank_pattern(copy) == rank_pattern(runner.model)


def test_schedule_and_history(base, tmp_path):
    pdrs = dict(rho=0.8, start_epoch=1, shrink_every=2, shrink_until=3)
    runner = train(config(base, pdrs=pdrs, train_cfg__max_epochs=6), tmp_path)
    history = hook_of(runner).history
    assert [record['epoch'] for record in history] == [0, 3]
    assert history[1]['ranks'] == rank_pattern(runner.model)


@pytest.mark.parametrize('options, times', [
    (dict(shrinks=2), [3, 6]),  # a third of 18 steps
    (dict(shrinks=3, until=0.5), [3, 6, 9]),
    (dict(shrinks=4, until=1.0), [4, 8, 12, 16]),
    (dict(shrinks=5, until=0.1), [1, 2, 3, 4, 5]),  # no more than one a step
])  # fmt: skip
def test_so_many_shrinkings_within_a_share_of_the_run(base, tmp_path, options, times):
    """Whatever the length of the run, in epochs or iterations."""
    runner = train(config(base, pdrs=options, train_cfg__max_epochs=6), tmp_path)
    history = hook_of(runner).history
    assert runner.max_iters == 18
    assert [record['iter'] for record in history] == [0, *times]
    mean = [sum(r for s in h['ranks'].values() for r in s.values()) for h in history]
    assert mean == sorted(mean, reverse=True) and mean[-1] < mean[0]


@ROOT_HOOKS.register_module()
class Truncated(Hook):
    """Which steps were truncated."""

    priority = 'LOWEST'

    def before_run(self, runner):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        prefixes = [scored.group.prefix is not None for scored in hook_of(runner).scored]
        assert len(set(prefixes)) == 1
        self.steps.append(prefixes[0])


@pytest.mark.parametrize('options, truncated', [
    (dict(shrinks=3, until=0.5), 18),
    (dict(shrinks=3, until=0.5, truncate='while_shrinking'), 9),
    (dict(shrink_until=2, truncate='while_shrinking'), 6),
    (dict(truncate='while_shrinking'), 18),  # they shrink to the end
])  # fmt: skip
def test_truncation_may_end_with_the_last_shrinking(base, tmp_path, options, truncated):
    cfg = config(base, pdrs=options, train_cfg__max_epochs=6)
    cfg.custom_hooks.append(dict(type='mmengine.Truncated'))
    runner = train(cfg, tmp_path)
    steps = next(h for h in runner.hooks if isinstance(h, Truncated)).steps
    assert steps == [True] * truncated + [False] * (18 - truncated)


def test_a_resumed_run_goes_on_with_its_shrinkings(base, tmp_path):
    def cfg(cut):
        cfg = config(base, pdrs=dict(shrinks=3, until=0.9))
        cfg.custom_hooks.extend([dict(type='mmengine.StopAfterOne')] if cut else [])
        return cfg

    train(cfg(False), tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        train(cfg(True), tmp_path / 'cut')
    train(cfg(False), tmp_path / 'cut', resume=True)
    whole, cut = (safe_load(tmp_path / n / 'epoch_3.pth') for n in ('whole', 'cut'))
    assert whole['pdrs']['history'] == cut['pdrs']['history']
    assert [record['iter'] for record in whole['pdrs']['history']] == [0, 2, 4, 6]


def test_a_shrunk_checkpoint_loads_into_a_fresh_run(base, tmp_path):
    runner = train(config(base, pdrs=dict(rho=0.7)), tmp_path / '1')
    path = f'{runner.work_dir}/epoch_3.pth'
    other = build_runner(config(base), work_dir=str(tmp_path / '2'), checkpoint=path)
    other.load_or_resume()
    assert rank_pattern(other.model) == rank_pattern(runner.model)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key


def test_what_is_logged(base, tmp_path, caplog):
    cfg = config(base, pdrs=dict(rho=0.7), log_level='INFO')
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    runner = train(cfg, tmp_path)
    lines = next(tmp_path.rglob('scalars.json')).read_text()
    assert lines.count('"rank/mean"') == 3
    layer = 'rank/backbone.network.layers.0.blocks.0.mlp.fc1/depth'
    assert layer in lines and '"rank/effective_parameters"' in lines
    log = next(tmp_path.rglob('*.log')).read_text()
    assert log.count('Ranks shrunk: mean') == 3
    assert str(hook_of(runner).history[-1]['ranks']) != str(hook_of(runner).history[0]['ranks'])


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(rho=0), r'rho in \(0, 1\]'), (dict(rho=1.2), r'rho in \(0, 1\]'),
        (dict(rho_shared=-1), r'rho_shared in \(0, 1\]'),
        (dict(rho_task=dict(depth=95)), r'rho_task\[depth\] in \(0, 1\].*95'),
        (dict(beta=1.0), 'beta in'), (dict(min_rank=0), 'min_rank'), (dict(margin=-1), 'margin'),
        (dict(shrink_every=0), 'shrink_every'), (dict(start_epoch=1.5), 'start_epoch.*1.5'),
        (dict(shrinks=0), 'shrinks to be an integer from 1'), (dict(shrinks=1.5), 'shrinks.*1.5'),
        (dict(shrinks=15, until=0), r'until in \(0, 1\], a share of training, got 0'),
        (dict(shrinks=15, shrink_every=2), 'shrinks=15 says when to shrink instead of start_epoch'),
        (dict(shrinks=15, shrink_until=9), 'leave these out, or `shrinks`'),
        (dict(truncate='never'), "truncate='never' is unknown.*always"),
        (dict(scope='steps'), "scope='steps' is unknown.*'step'"),
    ],
)  # fmt: skip
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        PDRSHook(**options)


def test_no_low_rank_adapter(base, tmp_path):
    cfg = config(base)
    cfg.model.backbone.plugins = []
    with pytest.raises(ValueError, match='the model has none.*DoRA, LoRA, MTLoRA'):
        train(cfg, tmp_path)


def test_a_task_without_adapters(base, tmp_path):
    with pytest.raises(ValueError, match="'detph'.*Did you mean 'depth'|'detph'.*'depth'"):
        train(config(base, pdrs=dict(rho_task=dict(detph=0.9))), tmp_path)
    cfg = config(base, pdrs=dict(rho_task=dict(depth=0.9)))
    cfg.model.backbone.plugins[0].lanes = 'shared'
    with pytest.raises(ValueError, match="'depth'.*lanes='task'"):
        train(cfg, tmp_path)


def test_state_of_another_model(base, tmp_path):
    train(config(base, train_cfg__max_epochs=1), tmp_path)
    path = tmp_path / 'epoch_1.pth'
    saved = safe_load(path)
    key = next(iter(saved['pdrs']['scores']))
    del saved['pdrs']['scores'][key]
    torch.save(saved, path)
    with pytest.raises(ValueError, match='does not fit layer'):
        train(config(base), tmp_path, resume=True)
