"""MagnitudePenaltyHook in real runs: what it adds to the gradient, and of what."""

import pytest
import torch
from helpers.engine import tiny, write_base
from mmengine.hooks import Hook
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.apis import build_runner
from mtpeft.hooks import MagnitudePenaltyHook
from mtpeft.hooks.magnitude_penalty_hook import layers_with_magnitudes, magnitude_penalty


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


class Spy(Hook):
    """Moves the magnitudes, and keeps the gradients of the first step."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.seen = {}
        generator = torch.Generator().manual_seed(0)
        for name, p in runner.model.named_parameters():
            if 'magnitude' in name:
                p.data += 0.3 * torch.randn(p.shape, generator=generator)
        runner.optim_wrapper.optimizer.register_step_pre_hook(lambda *_: self.look(runner.model))

    def look(self, model):
        if not self.seen:
            self.seen = {n: p.grad.clone() for n, p in model.named_parameters()
                         if 'magnitude' in n and p.grad is not None}  # fmt: skip


def first_step(base, tmp_path, rate, weight, **options):
    cfg = dict(type='DoRA', rank=2, magnitude_rate=rate)
    plugins = [dict(cfg=cfg, targets=['fc1', 'fc2'], lanes='task')]
    cfg = tiny(
        base, model__backbone__plugins=plugins, train_cfg__max_epochs=2, train_cfg__val_interval=9,
        optim_wrapper__clip_grad=None,
        default_hooks__magnitudes=dict(type='MagnitudePenaltyHook', weight=weight), **options,
    )  # fmt: skip
    runner, spy = build_runner(cfg, work_dir=str(tmp_path)), Spy()
    runner.register_hook(spy)
    runner.train()
    return runner, spy.seen


@pytest.mark.parametrize('rate', [None, 0.5])
@pytest.mark.parametrize('counts', [1, 2])
def test_it_is_added_to_the_gradient_of_shared_magnitudes(base, tmp_path, rate, counts):
    common = dict(rate=rate, optim_wrapper__accumulative_counts=counts)
    _, plain = first_step(base, tmp_path / '0', weight=0, **common)
    runner, added = first_step(base, tmp_path / '1', weight=100.0, **common)
    # two runs with the same seed: the start is what both had in their first step
    spy = Spy()
    fresh = build_runner(runner.cfg, work_dir=str(tmp_path / '2'))
    fresh.optim_wrapper = fresh.build_optim_wrapper(fresh.optim_wrapper)
    fresh._init_model_weights()
    spy.before_train(fresh)
    shared = 0
    for name, layer in fresh.model.named_modules():
        own = next((n for n in plain if n.startswith(f'{name}.adapter.')), None)
        if own is None or not hasattr(layer, 'adapter'):
            continue
        kind = 'magnitude' if rate is None else 'log_magnitude'
        value = getattr(layer.adapter, kind).detach().clone().requires_grad_()
        norms = layer.weight.detach().norm(dim=1)
        m = value if rate is None else norms * torch.exp(rate * value)
        (wanted,) = torch.autograd.grad(100 * ((m / norms - 1) ** 2).mean(), value)
        key = f'{name}.adapter.{kind}'
        if key in plain:
            shared += 1
            torch.testing.assert_close(added[key] - plain[key], wanted, rtol=1e-3, atol=1e-4)
        lane = f'{name}.adapter.task_{kind}'
        if lane in plain:
            torch.testing.assert_close(added[lane], plain[lane], rtol=1e-4, atol=1e-5)
    assert shared > 3
    assert 'train/magnitude_penalty' in runner.message_hub.log_scalars


def test_the_penalty_of_two_layers():
    layers = [adapt_layer(nn.Linear(3, n), dict(type='DoRA', rank=1)) for n in (2, 4)]
    with torch.no_grad():
        layers[0].weight[0] = 0  # a row of zeros has no share to grow by
        for layer in layers:
            layer.adapter.reset_from_weight(layer)
            assert magnitude_penalty([layer]) < 1e-12
        layers[0].adapter.magnitude[1] *= 1.5
        layers[1].adapter.magnitude *= 0.8
    assert float(magnitude_penalty(layers)) == pytest.approx(0.25 / 2 + 0.04, rel=1e-5)
    assert layers_with_magnitudes(nn.Sequential(*layers, nn.Linear(2, 2))) == layers


def test_bad_use(base, tmp_path):
    with pytest.raises(ValueError, match='weight to be at least 0'):
        MagnitudePenaltyHook(weight=-1)
    cfg = tiny(base, default_hooks__magnitudes=dict(type='MagnitudePenaltyHook'))
    with pytest.raises(ValueError, match=r'MagnitudePenaltyHook holds magnitudes of DoRA'):
        build_runner(cfg, work_dir=str(tmp_path)).train()
