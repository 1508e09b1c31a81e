"""Who is decayed, and in which precision the forward pass runs."""

import pytest
import torch
from helpers.engine import tiny
from mmengine.optim import build_optim_wrapper
from torch import nn

from mtpeft.optim import AutocastOptimWrapper, FlatNoDecayConstructor
from mtpeft.registry import MODELS

CFG = dict(type='OptimWrapper', constructor='mtpeft.FlatNoDecayConstructor',
           optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))  # fmt: skip


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.scalar = nn.Parameter(torch.ones(()))
        self.magnitude = nn.Parameter(torch.ones(5))
        self.table = nn.Parameter(torch.ones(9, 2))
        self.kernel = nn.Conv2d(2, 2, 3)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize('build', [Odd, lambda: MODELS.build(tiny().model)])
def test_decay_by_number_of_axes(build):
    model = build()
    optimizer = build_optim_wrapper(model, dict(CFG)).optimizer
    decay = {id(p): g['weight_decay'] for g in optimizer.param_groups for p in g['params']}
    for name, parameter in model.named_parameters():
        wanted = None if not parameter.requires_grad else 0.05 * (parameter.ndim > 1)
        assert decay.get(id(parameter)) == wanted, name
    assert len(decay) == sum(len(g['params']) for g in optimizer.param_groups)


def test_like_mmengine_with_flat_decay_mult():
    model = Odd()
    stock = dict(CFG, constructor='DefaultOptimWrapperConstructor',
                 paramwise_cfg=dict(flat_decay_mult=0.0))  # fmt: skip
    del model.scalar  # mmengine decays parameters without an axis
    ours, theirs = (
        {id(p): g['weight_decay'] for g in w.optimizer.param_groups for p in g['params']}
        for w in (build_optim_wrapper(model, dict(cfg)) for cfg in (CFG, stock))
    )
    assert ours == theirs


def test_refusals():
    with pytest.raises(ValueError, match='flat_decay_mult'):
        FlatNoDecayConstructor(dict(CFG), dict(norm_decay_mult=0))
    with pytest.raises(ValueError, match='Nothing to optimise'):
        FlatNoDecayConstructor(dict(CFG))(nn.Linear(2, 2).requires_grad_(False))


def test_autocast_accumulates_and_clips():
    model = nn.Linear(4, 1, bias=False)
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0), accumulative_counts=2,
        clip_grad=dict(max_norm=1e-3),
    )  # fmt: skip
    start = model.weight.detach().clone()
    for i in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 4)).sum()
        assert loss.dtype == torch.bfloat16
        wrapper.update_params(loss)
        assert torch.equal(model.weight, start) == (i == 0)
    assert model.weight.dtype == torch.float32
    assert (model.weight - start).norm().item() == pytest.approx(1e-3, rel=1e-3)
