"""Sine-LoRA against its formula, entry by entry, and what its frequency does."""

import math

import numpy as np
import pytest
import torch
from helpers.adapter_grid import LAYERS, stir
from helpers.frequencies import effective_rank
from torch import nn

from mtpeft.adapters import NotMergeableError, SineLoRA, adapt_layer

TASKS = ('semseg', 'depth')


def written_out(a, b, omega, gain):
    """g sin(omega sum_i b_oi a_ij), by loops over the entries."""
    a, b = a.detach().double().numpy(), b.detach().double().numpy()
    rows = a.reshape(len(a), -1)
    out = np.zeros((len(b), rows.shape[1]))
    for o in range(len(b)):
        for j in range(rows.shape[1]):
            angle = sum(b[o, i] * rows[i, j] for i in range(len(rows)))
            out[o, j] = gain * math.sin(omega * angle)
    return torch.from_numpy(out.reshape(len(b), *a.shape[1:])).float()


@pytest.mark.parametrize('kind', LAYERS)
def test_weights_are_sines_of_the_products(kind):
    torch.manual_seed(0)
    layer = adapt_layer(LAYERS[kind][0](), dict(type='SineLoRA', rank=3, omega=20.0), TASKS)
    stir(layer)
    adapter = layer.adapter
    gain = 1 / math.sqrt(layer.weight[0].numel())
    expected = written_out(adapter.A, adapter.B, 20.0, gain)
    torch.testing.assert_close(adapter.delta_weight(layer), expected, rtol=1e-4, atol=1e-5)
    for index, task in enumerate(TASKS):
        a, b = adapter.task_A[index], adapter.task_B[index]
        found = adapter.delta_weight(layer, task)
        expected = written_out(a, b, 20.0, gain)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_frequency_raises_the_effective_rank():
    torch.manual_seed(0)
    ranks, stacked = [], []
    for omega in (1.0, 50.0, 200.0, 1000.0):
        torch.manual_seed(0)
        layer = adapt_layer(nn.Linear(96, 96), dict(type='SineLoRA', rank=4, omega=omega))
        with torch.no_grad():
            layer.adapter.B.normal_(std=0.02)
        delta = layer.adapter.delta_weight(layer).detach().double().numpy()
        ranks.append(effective_rank(delta))
        stacked.append(np.linalg.matrix_rank(delta, tol=1e-3 * np.linalg.norm(delta, 2)))
    assert ranks == sorted(ranks) and ranks[-1] > 4 * ranks[0]
    assert ranks[0] < 4.01 and stacked[0] == 4 and stacked[-1] > 60


def test_a_low_frequency_is_lora():
    """sin(x) is x for a small x: with g omega = s, LoRA of scale s."""
    torch.manual_seed(0)
    sine = adapt_layer(nn.Linear(12, 10), dict(type='SineLoRA', rank=3, omega=1e-3, gain=4e3))
    stir(sine)
    lora = adapt_layer(nn.Linear(12, 10), dict(type='LoRA', rank=3, scale=4.0))
    lora.load_state_dict(sine.state_dict())
    x = torch.randn(5, 12)
    torch.testing.assert_close(sine(x), lora(x), rtol=1e-4, atol=1e-4)


def test_the_gain_scales_and_the_gradient_is_not_zero_at_the_start():
    torch.manual_seed(0)
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineLoRA', rank=3, gain=0.5, dropout=0.0))
    layer(torch.randn(5, 12)).square().mean().backward()
    assert layer.adapter.B.grad.abs().min() > 0
    with torch.no_grad():
        layer.adapter.B.fill_(1e3)  # any angle: the amplitude is what counts
    assert layer.adapter.delta_weight(layer).abs().max() <= 0.5


def test_kept_weights_follow_their_parameters():
    torch.manual_seed(0)
    layer = adapt_layer(nn.Linear(6, 5), dict(type='SineLoRA', rank=2), TASKS).eval()
    stir(layer)
    x = torch.randn(3, 6)
    with torch.no_grad():
        first, again = layer(x), layer(x)
        lanes = layer.adapter.lane_tensors(layer)['weight']
        assert layer.adapter.lane_tensors(layer)['weight'] is lanes  # made once
        layer.adapter.A.mul_(1.5)
        moved = layer(x)
        assert layer.adapter.lane_tensors(layer)['weight'] is lanes  # not those that changed
        layer.adapter.task_A.mul_(1.5)
        assert layer.adapter.lane_tensors(layer)['weight'] is not lanes
    assert torch.equal(first, again) and not torch.allclose(first, moved)


def test_lanes_on_the_shared_input_are_no_weight():
    options = dict(type='SineLoRA', rank=2, frozen_input='shared')
    layer = adapt_layer(nn.Linear(6, 5), options, TASKS)
    with pytest.raises(NotMergeableError, match="frozen_input='task'"):
        layer.adapter.delta_weight(layer, 'depth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(scale=4.0), 'no scale.*gain'),
        (dict(omega=0.0), 'expected omega to be positive, got 0.0'),
        (dict(gain=-1.0), 'expected gain to be positive, got -1.0'),
        (dict(rank=9), 'from 1 to 4'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SineLoRA(nn.Linear(6, 4), **options)
