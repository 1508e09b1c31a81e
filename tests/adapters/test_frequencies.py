"""Which modules have frequencies, whence, and what they make of M."""

import math

import numpy as np
import pytest
import torch
from helpers.frequencies import SITES, effective_rank, lowpass, with_frequencies
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.adapters.frequencies import (
    crossed_zero,
    find_site,
    outside,
    rank_of,
    sites_of,
    sources_of,
    spread,
)
from mtpeft.registry import MODELS

TASKS = ['semseg', 'depth', 'edge']


def model(**options):
    init_default_scope('mtpeft')
    return MODELS.build(with_frequencies(**options).model)


def site(layer, **options):
    """A layer adapted for three tasks, away from its start."""
    options = dict(type='SineAWB', rank=4, task_rank=3, kernel_size=None, **options)
    adapted = adapt_layer(layer, options, tasks=TASKS)
    for p in adapted.adapter.parameters():
        p.data += 0.3 * torch.randn(p.shape)
    return sites_of(nn.ModuleDict(dict(fc=adapted)))['fc'], adapted.adapter


# -- where -----------------------------------------------------------------------------------------


def test_sites_on_one_clock():
    found = sources_of(model())
    assert {name: [s.name for s in source.sites] for name, source in found.items()} == {
        'backbone': [*SITES, 'decoder']
    }
    assert found['backbone'].bounds == (15.0, 75.0)
    assert found['backbone'].omegas().keys() == {'semseg', 'depth'}


def test_sites_with_a_frequency_each():
    built = model(clock=dict(per='layer', scale=10.0))
    found = sources_of(built)
    assert list(found) == [*SITES, 'decoder']
    for index, (name, source) in enumerate(found.items()):
        assert [s.name for s in source.sites] == [name] and source.bounds == (5.0, 25.0)
        omegas = built.backbone.clock.frequencies(site=index).tolist()
        assert list(source.omegas().values()) == omegas


def test_a_decoder_with_a_clock_of_its_own():
    cfg = with_frequencies().model
    cfg.decoder.clock = dict(scale=50.0, shift=2.0)
    init_default_scope('mtpeft')
    found = sources_of(MODELS.build(cfg))
    assert list(found) == ['backbone', 'decoder']
    assert found['decoder'].bounds == (50.0, 150.0)
    assert [s.name for s in found['backbone'].sites] == SITES


def test_adapters_without_lanes_have_none():
    layer = adapt_layer(nn.Linear(6, 5), dict(type='SineAWB', rank=2))
    assert sites_of(nn.ModuleDict(dict(fc=layer))) == {}
    assert sites_of(nn.Linear(2, 2)) == {}


def test_a_module_of_ones_own():
    class Mine(nn.Module):
        tasks = ('depth', 'sal')

        def frequencies(self):
            return torch.tensor([2.0, 4.0])

        def matrix(self):
            return torch.eye(3)[None]

        def kernels(self):
            return torch.stack([torch.eye(3), torch.zeros(3, 3)])

    (source,) = sources_of(nn.ModuleDict(dict(mine=Mine()))).values()
    assert source.omegas() == dict(depth=2.0, sal=4.0)
    assert source.bounds == (-math.inf, math.inf) and not outside(1e9, source.bounds)
    assert source.sites[0].effective_ranks() == pytest.approx(dict(depth=3.0, sal=0.0))
    assert list(sites_of(Mine())) == ['model']


def test_find_site():
    found = sites_of(model())
    assert find_site(found, 'decoder').name == 'decoder'
    sizes = {name: s.matrix()[0].numel() for name, s in found.items()}
    assert sizes[find_site(found, None).name] == max(sizes.values()) > min(sizes.values())
    with pytest.raises(ValueError, match=r"Did you mean .*layers\.2\.blocks\.0\.mlp\.fc2'"):
        find_site(found, 'backbone.layers.2.blocks.0.mlp.fc2')


# -- what ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('options', [{}, dict(sine=False), dict(lowpass=False),
                                     dict(sine=False, lowpass=False)])  # fmt: skip
def test_steps_of_a_matrix(options):
    found, adapter = site(nn.Linear(9, 12), **options)
    a, w, b = (getattr(adapter, f'base_{n}').detach().double().numpy() for n in 'AWB')
    m = b @ np.diag(w) @ a
    steps = found.steps()
    np.testing.assert_allclose(steps['M'].pop('M'), m, rtol=1e-4, atol=1e-6)
    assert steps.pop('M') == {}
    for task, omega in found.omegas().items():
        expected = omega * m if options.get('sine') is False else np.sin(omega * m)
        if 'sine' not in options:
            np.testing.assert_allclose(steps['sine'].pop(task), expected, atol=1e-3)
        if 'lowpass' not in options:
            expected = lowpass(expected)
            got = 3 * steps['low-pass'].pop(task)  # 1 / g for 9 inputs
            np.testing.assert_allclose(got, expected, atol=1e-3)
        assert found.effective_ranks()[task] == pytest.approx(effective_rank(expected), rel=1e-3)
    names = {'sine': 'sine', 'lowpass': 'low-pass'}
    assert steps == {name: {} for option, name in names.items() if option not in options}


def test_a_kernel_is_taken_as_out_by_in_times_taps():
    found, adapter = site(nn.Conv2d(5, 4, 3, padding=1))
    assert found.matrix().shape == (1, 4, 45) and found.kernels().shape == (3, 4, 45)
    expected = adapter.kernels().detach()[1].reshape(4, 45).double().numpy()
    assert found.effective_ranks()['depth'] == pytest.approx(effective_rank(expected), rel=1e-5)


def test_a_base_for_each_task():
    found, adapter = site(nn.Linear(9, 6), base='independent')
    steps = found.steps()
    assert [list(step) for step in steps.values()] == [TASKS] * 3
    assert torch.equal(steps['M']['edge'], adapter.matrix()[2])


def test_components_that_a_training_step_masks_count():
    found, adapter = site(nn.Linear(9, 6))
    whole = found.effective_ranks()
    group = adapter.groups['base']
    group.prefix = torch.tensor([1])
    assert found.effective_ranks() == whole
    assert torch.linalg.matrix_rank(found.matrix()[0], rtol=1e-4) == 3
    assert group.prefix.tolist() == [1]
    group.keep(0, torch.tensor([2]), {n: [p.data] for n, p in group.parameters.items()})
    assert torch.linalg.matrix_rank(found.matrix()[0], rtol=1e-4) == 1


@pytest.mark.parametrize('shape', [(12, 5), (5, 12)])
def test_rank_of_a_weight(shape):
    weight = torch.randn(shape)
    assert rank_of(weight) == pytest.approx(effective_rank(weight.double().numpy()))
    assert rank_of(torch.zeros(shape)) == 0.0
    weight[1, 2] = math.nan
    assert math.isnan(rank_of(weight))


def test_spread_is_of_all_tasks():
    values = [3.0, 8.0, 4.5]
    got = spread(dict(zip(TASKS, values, strict=True)))
    assert got == pytest.approx((np.ptp(values), np.std(values)))
    assert spread(dict(sal=4.0)) == (0.0, 0.0)


@pytest.mark.parametrize(
    'omega, first, crossed',
    [(1.0, 30.0, False), (-1.0, 30.0, True), (0.0, 30.0, True), (-1.0, -30.0, False),
     (1.0, -30.0, True), (5.0, 0.0, False), (math.nan, 30.0, True)],
)  # fmt: skip
def test_crossed_zero(omega, first, crossed):
    assert crossed_zero(omega, first) is crossed


@pytest.mark.parametrize(
    'omega, out',
    [(15.0, False), (75.0, False), (14.99, True), (75.01, True), (-20.0, True),
     (75.0001, False), (math.nan, True)],
)  # fmt: skip
def test_outside(omega, out):
    """With room for rounding: tanh is 1 in float32."""
    assert outside(omega, (15.0, 75.0)) is out
