"""DiTASK: only the spectrum of a weight moves, by a flow of its positions or of its values."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.adapter_grid import TASKS, stir
from safetensors.torch import load_file
from torch import nn

from mtpeft.adapters import DiTASK, LaneBlock, adapt_layer
from mtpeft.adapters.ditask import index_warp, value_warp
from mtpeft.ops.cpab import cpab_flow
from mtpeft.ops.dropout import dropout

FLOWS = load_file(Path(__file__).parents[1] / 'data/ditask_flows.safetensors')
over_warps = pytest.mark.parametrize('warp', ['index', 'value'])


def adapted(layer, tasks=(), **options):
    torch.manual_seed(0)
    return adapt_layer(layer, dict(type='DiTASK', **options), tasks)


def plain_index_warp(s, theta):
    """S at the warped positions, value by value."""
    last = len(s) - 1
    at = cpab_flow(torch.arange(last + 1, dtype=s.dtype) / last, theta) * last
    return torch.from_numpy(np.interp(at.numpy(), np.arange(last + 1), s.numpy()))


def plain_weight(weight, theta, warp, parts=1):
    """W' of each part by itself."""
    rows = []
    for part in weight.chunk(parts):
        u, s, vh = torch.linalg.svd(part, full_matrices=False)
        new = plain_index_warp(s, theta) if warp == 'index' else s[0] * cpab_flow(s / s[0], theta)
        rows.append(sum(new[i] * torch.outer(u[:, i], vh[i]) for i in range(len(s))))
    return torch.cat(rows)


@pytest.mark.parametrize('case', sorted({int(key.split('/')[0]) for key in FLOWS}))
def test_spectrum_is_resampled_as_by_the_released_code(case):
    s, theta = FLOWS[f'{case}/s'], FLOWS[f'{case}/theta']
    torch.testing.assert_close(
        s + index_warp(s, theta), FLOWS[f'{case}/s_resampled'], rtol=0, atol=1e-9
    )


@over_warps
@pytest.mark.parametrize(
    ('shape', 'parts'), [((9, 9), 1), ((12, 7), 1), ((7, 12), 1), ((18, 6), 3), ((12, 6), 2)]
)
def test_weight_is_the_paper_s_formula(warp, shape, parts):
    layer = nn.Linear(shape[1], shape[0]).double()
    new = adapted(layer, TASKS, warp=warp, cells=16)
    adapter = new.adapter
    assert adapter.parts == parts
    wanted = plain_weight(layer.weight.detach(), adapter.theta.detach()[0], warp, parts)
    torch.testing.assert_close(adapter.weight(new), wanted, rtol=0, atol=1e-12)
    for i, task in enumerate(TASKS):
        theta = adapter.task_theta.detach()[i, 0]
        wanted = plain_weight(layer.weight.detach(), theta, warp, parts)
        torch.testing.assert_close(adapter.weight(new, task), wanted, rtol=0, atol=1e-12)


@over_warps
def test_convolution_is_the_matrix_of_its_kernels(warp):
    layer = nn.Conv2d(3, 8, 3, padding=1).double()
    new = adapted(layer, warp=warp).eval()
    theta = new.adapter.theta.detach()[0]
    weight = plain_weight(layer.weight.detach().flatten(1), theta, warp).view_as(layer.weight)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    wanted = nn.functional.conv2d(x, weight, layer.bias, padding=1)
    torch.testing.assert_close(new(x), wanted, rtol=0, atol=1e-12)


@over_warps
def test_singular_vectors_stay_and_values_keep_their_order_and_bounds(warp):
    layer = nn.Linear(10, 14).double()
    new = adapted(layer, warp=warp, cells=8)
    stir(new, std=1.0)
    u, s, vh = torch.linalg.svd(layer.weight, full_matrices=False)
    inner = u.mT @ new.adapter.weight(new) @ vh.mT
    moved = inner.diagonal()
    torch.testing.assert_close(inner, moved.diag(), rtol=0, atol=1e-12)
    torch.testing.assert_close(moved, new.adapter.spectrum(new)[0], rtol=0, atol=1e-12)
    assert (moved - s).abs().max() > 1e-2
    assert moved.diff().max() <= 1e-12
    torch.testing.assert_close(moved[0], s[0])
    if warp == 'index':
        torch.testing.assert_close(moved[-1], s[-1])
    assert moved.min() > 0


@over_warps
def test_gradient_is_that_of_finite_differences(warp):
    s = torch.rand(3, 9, dtype=torch.float64).sort(descending=True).values
    theta = 0.3 * torch.randn(2, 1, 4, dtype=torch.float64).requires_grad_()
    change = {'index': index_warp, 'value': value_warp}[warp]
    assert change(s, theta).shape == (2, 3, 9)
    assert torch.autograd.gradcheck(lambda t: change(s, t), theta, eps=1e-7, atol=1e-5)


@over_warps
def test_degenerate_weights_are_left_alone(warp):
    """One singular value, or a weight of zeros: nothing can move, nothing is not a number."""
    for layer in (nn.Linear(5, 1), nn.Linear(4, 4)):
        with torch.no_grad():
            layer.weight.mul_(layer.out_features == 1)
        new = adapted(layer, warp=warp)
        out = new(torch.randn(3, layer.in_features)).sum()
        out.backward()
        torch.testing.assert_close(new.adapter.weight(new), layer.weight)
        assert new.adapter.theta.grad.isfinite().all()


def test_start_is_uniform_beside_the_pretrained_layer_or_on_it():
    layer = nn.Linear(64, 64)
    new = adapted(copy.deepcopy(layer), TASKS)
    shared, lanes = new.adapter.theta, new.adapter.task_theta
    assert shared.shape == (1, 63) and lanes.shape == (3, 1, 3)
    assert 0.9 * 63**-0.5 < shared.abs().max() <= 63**-0.5
    assert 0.5 * 3**-0.5 < lanes.abs().max() <= 3**-0.5
    assert not torch.equal(new.adapter.weight(new), layer.weight)
    zero = adapted(copy.deepcopy(layer), TASKS, init='zero')
    for task in (None, *TASKS):
        assert torch.equal(zero.adapter.weight(zero, task), layer.weight)
    zero(torch.randn(9, 64)).square().sum().backward()
    assert zero.adapter.theta.grad.abs().min() > 0  # it can leave


def test_dropout_hits_the_whole_input():
    """There is no frozen path beside it: what is dropped is gone."""
    new = adapted(nn.Linear(6, 4), dropout=0.5).train()
    torch.manual_seed(1)
    out = new(torch.ones(1, 6))
    torch.manual_seed(1)
    kept = dropout(torch.ones(1, 6), 0.5)
    assert 0 < kept.count_nonzero() < 6
    torch.testing.assert_close(out, nn.functional.linear(kept, new.adapter.weight(new), new.bias))


class Two(nn.Module):
    """Layers in a row, something drawn between them as in a transformer block."""

    def __init__(self, between):
        super().__init__()
        self.qkv, self.proj, self.fc1 = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.drop_path = between

    def forward(self, x):
        return self.fc1(self.drop_path(self.proj(self.qkv(x)).sin()))


class Path(nn.Module):
    """Adds 1 in training, as something random would differ from the shared stream."""

    drop_prob = 0.5

    def forward(self, x):
        return x + self.training * torch.ones_like(x)


@pytest.mark.parametrize('strategy', ['vmap', 'loop', 'fold'])
@pytest.mark.parametrize('between', [nn.Identity(), Path()], ids=['plain', 'drop path'])
def test_lanes_read_the_same_dropped_input_first_and_then_their_own(strategy, between):
    block = Two(between)
    for name in ('qkv', 'proj', 'fc1'):
        tasks = () if name == 'qkv' else TASKS
        setattr(block, name, adapted(getattr(block, name), tasks, dropout=0.5))
    block.train()
    seen = {}
    for name in ('proj', 'fc1'):
        layer = getattr(block, name)
        layer.adapter.dropout.register_forward_hook(
            lambda module, x, out, name=name: seen.setdefault(name, out.detach().clone())
        )
    x = torch.randn(5, 6)
    _, lanes = LaneBlock(block, TASKS, lambda block, x: block(x), strategy)(x)
    proj, fc1 = block.proj, block.fc1
    assert (seen['proj'] == 0).any()
    for lane, task in zip(lanes, TASKS, strict=True):
        weights = [layer.adapter.weight(layer, task) for layer in (proj, fc1)]
        own = between(nn.functional.linear(seen['proj'], weights[0], proj.bias).sin())
        torch.testing.assert_close(lane, nn.functional.linear(own, weights[1], fc1.bias))


def test_lanes_of_a_later_layer_are_not_given_the_shared_input():
    """A dropped path before the first layer with lanes: their inputs are their own, undropped."""
    for strategy in ('loop', 'fold'):
        block = nn.Sequential(Path(), adapted(nn.Linear(6, 6), TASKS, dropout=0.5)).train()
        x = torch.randn(5, 6)
        _, lanes = LaneBlock(block, TASKS, lambda block, x: block(x), strategy)(x)
        layer = block[1]
        for lane, task in zip(lanes, TASKS, strict=True):
            weight = layer.adapter.weight(layer, task)
            torch.testing.assert_close(lane, nn.functional.linear(x + 1, weight, layer.bias))


def count_svds(monkeypatch):
    calls = []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, 'svd', lambda *a, **k: calls.append(1) or svd(*a, **k))
    return calls


def test_weight_is_decomposed_once_and_again_when_it_changes(monkeypatch):
    calls = count_svds(monkeypatch)
    new = adapted(nn.Linear(6, 5), TASKS)
    x = torch.randn(2, 6)
    for _ in range(3):
        new(x).sum().backward()
    new.train().adapter.lane_tensors(new)
    assert len(calls) == 1
    other = nn.Linear(6, 5)
    state = new.state_dict()
    new.load_state_dict({**state, 'weight': other.weight})  # with the adapter's own parameters
    wanted = plain_weight(other.weight.detach(), new.adapter.theta.detach()[0], 'index')
    torch.testing.assert_close(new.adapter.weight(new), wanted)
    assert len(calls) == 3  # the test's own too
    new.adapter.reset_from_weight(new)
    new(x)
    assert len(calls) == 4


def test_kept_weights_follow_theta_and_the_frozen_weight():
    new = adapted(nn.Linear(6, 5), TASKS).eval()
    x = torch.randn(2, 6)
    with torch.no_grad():
        first = new(x)
        assert new.adapter.lane_tensors(new)['weight'].shape == (3, 5, 6)
        assert torch.equal(new(x), first)
        stir(new)
        moved = new(x)
        assert not torch.allclose(moved, first)
        new.weight.mul_(2)
        torch.testing.assert_close(new(x) - new.bias, 2 * (moved - new.bias))


def test_inference_mode_first_and_training_after():
    new = adapted(nn.Linear(6, 5))
    with torch.inference_mode():
        new.eval()(torch.randn(2, 6))
    new.train()(torch.randn(2, 6)).sum().backward()
    assert new.adapter.theta.grad.isfinite().all()


def test_decomposition_moves_with_the_layer_and_is_in_no_state_dict():
    new = adapted(nn.Linear(6, 5), TASKS).eval()
    new(torch.randn(2, 6))
    assert set(new.state_dict()) == {
        'weight', 'bias', 'adapter.theta', *(f'adapter.task_theta.{task}' for task in TASKS)
    }  # fmt: skip
    assert new.adapter.U.shape == (1, 5, 5)
    assert copy.deepcopy(new).to('meta').adapter.U.is_meta
    double = copy.deepcopy(new).double()
    wanted = plain_weight(double.weight.detach(), double.adapter.theta.detach()[0], 'index')
    torch.testing.assert_close(double.adapter.weight(double), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_decomposed_in_float32(dtype):
    new = adapted(nn.Linear(6, 5), TASKS).to(dtype).eval()
    assert new.adapter.weight(new).dtype == dtype
    assert new.adapter.U.dtype == torch.float32


def test_autocast_forms_the_weight_in_float32():
    new = adapted(nn.Linear(6, 5)).eval()
    x = torch.randn(2, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = new(x)
        assert torch.equal(new.adapter.weight(new), new.float().adapter.weight(new))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), new(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(cells=1), 'expected cells to be an integer of at least 2, got 1'),
        (dict(task_cells=2.0), 'expected task_cells to be an integer of at least 2, got 2.0'),
        (dict(warp='indx'), "warp='indx' is unknown. .*'index'"),
        (dict(init='zeros'), "init='zeros' is unknown. .*'zero'"),
        (dict(parts=4), 'expected parts to be an integer that divides the 6 outputs, got 4'),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DiTASK(nn.Linear(6, 6), TASKS, **options)
