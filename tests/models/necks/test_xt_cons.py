"""XT-Cons against NumPy's whole spectra and radii from plain loops."""

import math

import numpy as np
import pytest
import torch
from helpers import spectral_oracle as oracle
from helpers.spectral_oracle import SIZES, array, shake

from mtpeft.models import parameter_components
from mtpeft.models.necks import CrossTaskConsensus
from mtpeft.registry import MODELS

TASKS = ('semseg', 'sal', 'depth')
LOW = pytest.mark.parametrize('low', ['complex', 'amplitude'])


def build(widths=(3, 4), tasks=TASKS, **options):
    return MODELS.build(dict(type='CrossTaskConsensus', in_channels=widths, tasks=tasks, **options))


def streams(*sizes, widths=(3, 4), tasks=TASKS, dtype=torch.float32):
    return {
        name: tuple(torch.randn(2, c, *s, dtype=dtype) for c, s in zip(widths, sizes, strict=True))
        for name in tasks
    }


def wave(cycles, side=16):
    """Waves from left to right, ``(1, 1, side, side)``."""
    return torch.cos(2 * math.pi * cycles * torch.arange(side) / side).expand(1, 1, side, side)


@LOW
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_formula(size, low):
    neck = shake(build(low=low)).double()
    x = streams(size, (5, 4), dtype=torch.float64)
    out = neck(x)
    assert list(out) == list(TASKS)
    for task in TASKS:
        for i in range(2):
            others = [array(x[name][i]) for name in TASKS if name != task]
            wanted = oracle.xt_cons(array(x[task][i]), others, neck.bands[task][i], low)
            np.testing.assert_allclose(array(out[task][i]), wanted, atol=1e-10)


@LOW
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_starts_as_the_identity(size, low):
    x = streams(size, (3, 2))
    out = build(low=low)(x)
    for task in TASKS:
        for before, after in zip(x[task], out[task], strict=True):
            assert after.dtype == before.dtype
            torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)


def moved(name, value=1.0, **options):
    """A neck of two tasks in which one scalar of the task sal is set."""
    neck = build((1,), ['sal', 'depth'], **options)
    with torch.no_grad():
        getattr(neck.bands['sal'][0], name).fill_(value)
    return neck


def test_only_the_low_band_moves():
    """2 waves (radius .25) and the mean come from the other task; 7 waves (.875) stay."""
    x = dict(sal=(wave(2) + wave(7) + 3,), depth=(5 * wave(2, 16) + 4 * wave(7) - 1,))
    out = moved('alpha_low')(x)
    torch.testing.assert_close(out['sal'][0], 5 * wave(2) + wave(7) - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(out['depth'][0], x['depth'][0], atol=1e-5, rtol=0)


def test_only_the_high_band_moves():
    """7 waves of 8: radius .875, in the ramp at .375; 8 waves: all of it; 5 (.625): none."""
    x = dict(sal=(wave(5) + wave(7) + wave(8) + 3,), depth=(5 * (wave(5) + wave(7) + wave(8)),))
    wanted = wave(5) + (1 + 0.375 * 4) * wave(7) + 5 * wave(8) + 3
    torch.testing.assert_close(moved('alpha_high')(x)['sal'][0], wanted, atol=1e-5, rtol=0)


def test_the_mean_is_in_the_low_band():
    x = dict(sal=(torch.full((1, 1, 8, 6), 2.0),), depth=(torch.full((1, 1, 8, 6), 10.0),))
    neck = moved('alpha_low', 0.25)
    torch.testing.assert_close(neck(x)['sal'][0], torch.full((1, 1, 8, 6), 4.0))
    torch.testing.assert_close(moved('alpha_high', 0.25)(x)['sal'][0], x['sal'][0])


def test_amplitude_keeps_the_own_phase():
    """The other's wave is shifted by a quarter; only its height is taken over."""
    sine = torch.sin(2 * math.pi * 2 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    x = dict(sal=(wave(2),), depth=(5 * sine,))
    out = moved('alpha_low', low='amplitude')(x)['sal'][0]
    torch.testing.assert_close(out, 5 * wave(2), atol=1e-5, rtol=0)
    out = moved('alpha_low')(x)['sal'][0]
    torch.testing.assert_close(out, 5 * sine, atol=1e-5, rtol=0)


@pytest.mark.parametrize('size', [(16, 16), (7, 5)], ids=str)
@pytest.mark.parametrize('level', [0.0, 1e-12], ids=['zero', 'nearly zero'])
def test_amplitude_without_any(size, level):
    """Nothing (or rounding errors) gets the other's amplitudes at phase 0; gradients are tame."""
    own = (level * torch.randn(1, 1, *size)).requires_grad_()
    other = torch.randn(1, 1, *size)
    out = moved('alpha_low', low='amplitude')(dict(sal=(own,), depth=(other,)))['sal'][0]
    wanted = oracle.ifft(oracle.masks(size)[0] * abs(oracle.fft(array(other))))
    np.testing.assert_allclose(array(out), wanted, atol=1e-5)
    out.pow(2).sum().backward()
    assert torch.isfinite(own.grad).all() and own.grad.abs().max() < 100


def test_consensus_is_the_mean_of_all_others():
    flat = {name: (torch.full((1, 1, 4, 4), value),)
            for name, value in zip(TASKS, (1.0, 10.0, 100.0), strict=True)}  # fmt: skip
    neck = build((1,))
    with torch.no_grad():
        for levels in neck.bands.values():
            levels[0].alpha_low.fill_(1)
    means = [float(y[0].mean()) for y in neck(flat).values()]
    assert means == pytest.approx([55, 50.5, 5.5])


def test_permuted_tasks_permute_the_results():
    neck, x = shake(build()), streams((7, 6), (4, 3))
    turned = build(tasks=TASKS[::-1])
    turned.load_state_dict(neck.state_dict())
    out, back = neck(x), turned(dict(reversed(x.items())))
    assert list(back) == list(TASKS[::-1])
    for task in TASKS:
        for a, b in zip(out[task], back[task], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('tasks', [['sal'], None], ids=str)
def test_one_task_passes_through_without_parameters(tasks):
    neck = build(tasks=tasks)
    levels = (torch.randn(1, 3, 5, 4), torch.randn(1, 4, 2, 3).bfloat16())
    out = neck(levels) if tasks is None else neck(levels)['sal']
    assert isinstance(out, tuple) and all(map(torch.equal, out, levels))
    assert not list(neck.parameters()) and parameter_components(neck) == {}


@LOW
def test_gradients_reach_every_parameter(low):
    neck, x = shake(build(low=low)), streams((8, 9), (5, 6))
    sum(y.pow(3).sum() for levels in neck(x).values() for y in levels).backward()
    assert len(list(neck.parameters())) == 3 * 2 * 4
    assert all(p.grad is not None and p.grad.abs() > 0 for p in neck.parameters())


def test_alphas_learn_from_the_start_and_no_gradient_is_missing():
    neck, x = build(), streams((8, 9), (5, 6))
    sum(y.pow(3).sum() for levels in neck(x).values() for y in levels).backward()
    assert all(p.grad is not None for p in neck.parameters())
    assert all((p.grad != 0) == ('alpha' in name) for name, p in neck.named_parameters())


@LOW
def test_gradcheck(low):
    neck = shake(build((1,), ['sal', 'depth'], low=low)).double()
    a, b = (torch.randn(1, 1, 4, 3, dtype=torch.float64, requires_grad=True) for _ in 'ab')
    names = [name for name, _ in neck.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in neck.parameters()]

    def call(a, b, *values):
        x = dict(sal=(a,), depth=(b,))
        out = torch.func.functional_call(neck, dict(zip(names, values, strict=True)), (x,))
        return out['sal'][0], out['depth'][0]

    assert torch.autograd.gradcheck(call, (a, b, *values))


def test_half_precision_is_rounded_only_at_the_end():
    neck = shake(build())
    x = {name: tuple(y.bfloat16() for y in levels) for name, levels in
         streams((7, 9), (4, 5)).items()}  # fmt: skip
    wanted = neck({name: tuple(y.float() for y in levels) for name, levels in x.items()})
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = neck(x)
    for task in TASKS:
        for y, w in zip(out[task], wanted[task], strict=True):
            assert y.dtype == torch.bfloat16 and torch.equal(y, w.bfloat16())


def test_state_and_components():
    neck, other, x = shake(build()), build(), streams((5, 6), (3, 3))
    wanted, state = neck(x), neck.state_dict()
    assert list(state)[:4] == [
        f'bands.semseg.0.{name}' for name in ('alpha_low', 'alpha_high', 'g_low', 'g_high')
    ]
    assert len(state) == 3 * 2 * 4
    other.load_state_dict(state)
    assert torch.equal(other(x)['depth'][1], wanted['depth'][1])
    assert parameter_components(neck) == {'ts_pd': 24}
    assert isinstance(neck, CrossTaskConsensus) and neck.out_channels == (3, 4)


def test_what_is_refused():
    with pytest.raises(ValueError, match="low='amplitud' is unknown. Did you mean 'amplitude'"):
        build(low='amplitud')
    x = streams((4, 4), (2, 2))
    x['depth'] = (torch.rand(2, 3, 4, 5), x['depth'][1])
    with pytest.raises(ValueError, match=r"level 0, got .*\(2, 3, 4, 5\) for 'depth'"):
        build()(x)
    with pytest.raises(KeyError, match="no features for task 'depth'"):
        build()(dict(semseg=x['semseg'], sal=x['sal']))
