"""PDRSHook in mixed precision: with bfloat16, and with the loss scale of float16."""

from unittest import mock

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import tiny, write_base
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from mtpeft.adapters import rank_pattern
from mtpeft.apis import build_runner
from mtpeft.hooks import PDRSHook

PLUGINS = [dict(cfg=dict(type='DoRA', rank=4), targets=['fc1', 'fc2'], lanes='task')]
NECKS = [
    dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4)),
    # as the bound for bfloat16 was found with
    dict(type='TSPD', cw_sp=dict(filter='radial')),
]
CLIP = dict(max_norm=1e-3)


@OPTIM_WRAPPERS.register_module()
class CPULossScale(AmpOptimWrapper):
    """AmpOptimWrapper, which refuses a CPU, with all its calls but in float32."""

    def __init__(self, scaler, **kwargs):
        module = 'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available'
        with mock.patch(module, lambda: True):
            super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', **scaler)

    def optim_context(self, model):
        return OptimWrapper.optim_context(self, model)


class Spy(Hook):
    """Starts adapters away from 0; what each step left."""

    priority = 'LOWEST'

    def before_train(self, runner):
        stir(runner.model, 0.1)
        self.hook = next(h for h in runner.hooks if isinstance(h, PDRSHook))
        self.scores, self.weights, self.skipped = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.scores.append({s.key: s.score.clone() for s in self.hook.scored})
        self.weights.append({n: p.detach().clone() for n, p in runner.model.named_parameters()})
        self.skipped.append(int(self.hook.skipped))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


@pytest.fixture
def train(base, tmp_path):
    """Train one epoch of three steps with a config of optim_wrapper."""

    def run(wrapper, pdrs=None, weight=None):
        cfg = tiny(
            base, model__backbone__plugins=PLUGINS, model__necks=NECKS,
            model__backbone__backbone__drop_path_rate=0.0,
            default_hooks__pdrs=dict(type='PDRSHook', beta=0.0, **(pdrs or {})),
            train_cfg__max_epochs=1, train_cfg__val_interval=9,
        )  # fmt: skip
        if weight is not None:
            weights = dict.fromkeys(cfg.model.tasks, weight)
            cfg.model.loss_weighting = dict(type='FixedWeighting', weights=weights)
        cfg.optim_wrapper.pop('clip_grad')
        optimizer = {**cfg.optim_wrapper.optimizer, **wrapper.pop('optimizer', {})}
        cfg.optim_wrapper.update(wrapper, optimizer=optimizer)
        runner = build_runner(cfg, work_dir=str(tmp_path / cfg.experiment_name))
        spy = Spy()
        runner.register_hook(spy)
        runner.train()
        return spy, runner

    return run


def test_bfloat16(train):
    """Ranks shrink, everything stays finite, and scores are float32's up to rounding."""
    plain, _ = train(dict(type='OptimWrapper', clip_grad=CLIP))
    half, runner = train(dict(type='AutocastOptimWrapper', clip_grad=CLIP), dict(rho=0.8))
    assert half.skipped == [0, 0, 0]
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in half.weights[-1].values())
    ranks = [r for layer in rank_pattern(runner.model).values() for r in layer.values()]
    assert min(ranks) < 3
    wanted, scores = (torch.cat([s.flatten() for s in x.scores[0].values()]) for x in (plain, half))
    assert scores.dtype == torch.float32
    # gradients of 8 bits: inner products that nearly cancel keep less
    assert (scores - wanted).norm() < 0.2 * wanted.norm()


@pytest.mark.parametrize('clip', [None, CLIP], ids=['', 'clipped'])
@pytest.mark.parametrize('fused', [False, True], ids=['', 'fused'])
def test_scores_do_not_depend_on_the_loss_scale(train, clip, fused):
    """Powers of two, so that scaling rounds nothing. A fused optimizer can take it out itself."""
    optimizer = dict(fused=fused)
    plain, _ = train(dict(type='OptimWrapper', clip_grad=clip, optimizer=optimizer))
    assert any(value.max() > 0 for value in plain.scores[0].values())
    for power in (0, 12):
        scaled, runner = train(dict(
            type='mmengine.CPULossScale', scaler=dict(init_scale=2.0**power), clip_grad=clip,
            optimizer=optimizer,
        ))  # fmt: skip
        assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**power
        for one, other in zip(plain.scores, scaled.scores, strict=True):
            for key, value in one.items():
                assert torch.equal(other[key], value), (power, key)


@pytest.mark.parametrize('clip', [None, CLIP], ids=['', 'clipped'])
@pytest.mark.parametrize('fused', [False, True], ids=['', 'fused'])
def test_a_step_that_the_scaler_skips_is_not_scored(train, clip, fused):
    """The first scale overflows, of losses so large; the second, smaller by 2^-100, does not."""
    scaler = dict(init_scale=2.0**127, backoff_factor=2.0**-100)
    wrapper = dict(type='mmengine.CPULossScale', scaler=scaler, clip_grad=clip)
    spy, runner = train({**wrapper, 'optimizer': dict(fused=fused)}, weight=1000.0)
    assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**27
    assert all(value.max() == 0 for value in spy.scores[0].values())
    for scores in spy.scores[1:]:
        assert all(value.isfinite().all() for value in scores.values())
        assert any(value.max() > 0 for value in scores.values())
    assert spy.skipped == [1, 1, 1]
    moved = {n for n, p in spy.weights[2].items() if not torch.equal(p, spy.weights[0][n])}
    assert any('.adapter.' in name for name in moved)
