"""A step on gradients that are not finite is refused, with names; any other is as before."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mtpeft.hooks.finite_steps import refuse_infinite_steps
from mtpeft.optim import AutocastOptimWrapper

CLIPS = {
    'none': None, 'norm': dict(max_norm=0.1), 'largest': dict(max_norm=0.1, norm_type='inf'),
    'value': dict(type='value', clip_value=0.1),
}  # fmt: skip
BAD = [float('nan'), float('inf'), float('-inf')]


def made(clip, kind=OptimWrapper, checked=True, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    clip = None if CLIPS[clip] is None else dict(CLIPS[clip])
    wrapper = kind(optimizer=optimizer, clip_grad=clip, **options)
    if checked:
        refuse_infinite_steps(wrapper, model)
    return model, wrapper


def loss(model):
    return model(torch.ones(2, 3)).square().sum()


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize('clip', CLIPS)
@pytest.mark.parametrize('kind', [OptimWrapper, AutocastOptimWrapper])
@pytest.mark.parametrize('number', BAD)
def test_the_parameter_is_named_and_nothing_moves(clip, kind, number):
    model, wrapper = made(clip, kind)
    wrapper.update_params(loss(model))
    before = weights(model)
    state = {k: v.clone() for k, v in wrapper.optimizer.state[model[2].weight].items()}
    model[2].weight.register_hook(lambda gradient: gradient * number)
    with pytest.raises(FloatingPointError, match=r'not finite: 2.weight\. The weights'):
        wrapper.update_params(loss(model))
    assert all(map(torch.equal, before, weights(model)))
    now = wrapper.optimizer.state[model[2].weight]
    assert all(torch.equal(value, now[key]) for key, value in state.items())


@pytest.mark.parametrize('clip', CLIPS)
def test_finite_steps_are_bit_for_bit_the_same(clip):
    (model, wrapper), (plain, other) = made(clip), made(clip, checked=False)
    for _ in range(3):
        wrapper.update_params(loss(model))
        other.update_params(loss(plain))
    assert all(map(torch.equal, weights(model), weights(plain)))


def test_a_norm_too_large_for_its_type_is_no_reason():
    model, wrapper = made('norm')
    for parameter in model.parameters():
        parameter.register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    wrapper.update_params(loss(model))
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_within_an_accumulation_only_the_step_counts():
    model, wrapper = made('norm', accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    poison = model[0].bias.register_hook(lambda gradient: gradient * float('nan'))
    wrapper.update_params(loss(model))
    poison.remove()
    with pytest.raises(FloatingPointError, match='0.bias'):
        wrapper.update_params(loss(model))


def test_a_loss_scaler_does_so_itself():
    wrapper = SimpleNamespace(loss_scaler=object(), optimizer=None, clip_func=None, step='own')
    refuse_infinite_steps(wrapper, nn.Linear(1, 1))
    assert wrapper.step == 'own' and wrapper.clip_func is None


def test_several_optimizers():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    parts = {str(i): OptimWrapper(torch.optim.SGD(model[i].parameters(), lr=0.1)) for i in range(2)}
    refuse_infinite_steps(OptimWrapperDict(**parts), model)
    model[1].bias.register_hook(lambda gradient: gradient / 0)
    loss(model).backward()
    parts['0'].step()
    with pytest.raises(FloatingPointError, match='1.bias'):
        parts['1'].step()


def test_what_has_no_gradient_and_twice():
    model, wrapper = made('none')
    wrapper.step()
    refuse_infinite_steps(wrapper, model)
    model[0].requires_grad_(False)
    wrapper.update_params(loss(model))
