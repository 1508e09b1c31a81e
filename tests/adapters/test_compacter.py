"""Compacter against sums of torch.kron, and what its layers share."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY
from torch import nn

from mtpeft.adapters import Compacter, LaneBlock, NotMergeableError, adapt_layer
from mtpeft.adapters.compacter import kronecker_sum
from mtpeft.models.backbones import AdapterBackbone

TASKS = ('semseg', 'depth')
TIMES = pytest.mark.parametrize(('n', 'rank'), [(1, 1), (2, 1), (4, 1), (2, 3)])


def by_kron(a, s, t):
    """sum_i A_i (x) (s_i t_i), one term after another."""
    return sum(torch.kron(a[i], s[i] @ t[i]) for i in range(len(a)))


@TIMES
def test_the_weight_is_a_sum_of_kronecker_products(n, rank):
    torch.manual_seed(0)
    a, s, t = torch.randn(n, n, n), torch.randn(n, 3, rank), torch.randn(n, rank, 5)
    torch.testing.assert_close(kronecker_sum(a, s, t), by_kron(a, s, t))
    stacked = kronecker_sum(a, torch.stack([s, 2 * s]), torch.stack([t, t]))
    torch.testing.assert_close(stacked, torch.stack([by_kron(a, s, t), 2 * by_kron(a, s, t)]))


def expected_output(layer, x, prefix='', index=None):
    """h + up(gelu(down(h))) with weights by torch.kron."""
    adapter = layer.adapter
    own = {k: getattr(adapter, prefix + k) for k in
           ('down_s', 'down_t', 'up_s', 'up_t', 'down_bias', 'up_bias')}  # fmt: skip
    own = own if index is None else {k: v[index] for k, v in own.items()}
    down = by_kron(adapter.common.A, own['down_s'], own['down_t'])
    up = by_kron(adapter.common.A, own['up_s'], own['up_t'])
    h = nn.functional.linear(x, layer.weight, layer.bias)
    inner = nn.functional.gelu(h @ down.T + own['down_bias'])
    return h + inner @ up.T + own['up_bias']


@TIMES
def test_shared_stream_and_lanes(n, rank):
    torch.manual_seed(0)
    options = dict(type='Compacter', n=n, rank=rank, width=4)
    layer = adapt_layer(nn.Linear(6, 12), options, TASKS)
    stir(layer)
    x = torch.randn(2, 5, 6)
    block = LaneBlock(nn.Sequential(layer), TASKS, lambda b, x: b(x))
    shared, lanes = block(x)
    torch.testing.assert_close(shared, expected_output(layer, x))
    for index, lane in enumerate(lanes):
        torch.testing.assert_close(lane, expected_output(layer, x, 'task_', index))


def test_the_first_weights_are_as_large_as_those_of_a_bottleneck():
    """Entries of W_down have the variance 1 / (3 in) of a uniform start."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 256)
    for rank in (1, 4):
        variance = torch.stack([
            Compacter(layer, n=4, rank=rank, width=64).shared_tensors(layer)['down'].var()
            for _ in range(40)
        ]).mean()  # fmt: skip
        assert variance.item() == pytest.approx(1 / (3 * 256), rel=0.1)


def tiny(targets, **options):
    plugins = [dict(cfg=dict(type='Compacter', n=4, width=4, **options), targets=targets)]
    return AdapterBackbone(TINY['timm Swin'], plugins=plugins)


def test_all_layers_share_one_rule():
    model = tiny(['proj', 'fc2'])
    rules = [key for key in model.state_dict() if key.endswith('.A')]
    assert rules == ['commons.0.A']
    assert len({id(layer.adapter.common) for layer in model.adapter_layers().values()}) == 1
    assert model.parameter_components()['phm_rule'] == rules
    assert model.commons['0'].A.requires_grad
    stir(model)
    x = torch.randn(1, 3, 64, 64)
    before = model.eval()(x)
    with torch.no_grad():
        model.commons['0'].A.mul_(-1)
    for one, two in zip(before, model(x), strict=True):
        assert not torch.allclose(one, two)


def test_every_parameter_gets_a_gradient():
    model = tiny(['proj', 'fc2']).train()
    stir(model)
    sum(level.square().mean() for level in model(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ('targets', 'behind'), [(['proj', 'fc2'], 2), (['fc2'], 1)], ids=['Compacter', 'Compacter++']
)
def test_counts(targets, behind):
    """A layer has s and t of two weights and two biases; n^3 numbers are shared."""
    model = tiny(targets, rank=2)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    per_width = [(2 * 2 + 1) * (width + 4) for width in (8, 16, 32, 64)]
    assert counted == 4**3 + 2 * behind * sum(per_width)


def test_the_width_is_a_multiple_of_n():
    layer = nn.Linear(4, 48)
    assert Compacter(layer, n=4).width == 8  # 48 / 8 = 6, to a multiple of 4
    assert Compacter(layer, n=4, reduction=1000).width == 4
    assert Compacter(layer, n=4, reduction=4).width == 12


def test_it_cannot_be_merged():
    with pytest.raises(NotMergeableError, match='Compacter is a nonlinear layer'):
        tiny(['fc2']).merged_state_dict()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(n=5), r'n to divide the 12 outputs.*got n=5; the nearest that do: 3, 4, 6'),
        (dict(n=0), 'expected n to be a positive integer, got 0'),
        (dict(rank=1.5), 'expected rank to be a positive integer, got 1.5'),
        (dict(n=4, width=6), 'a multiple of n=4, got 6; the nearest: 8'),
        (dict(width=4, reduction=2), 'got both'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Compacter(nn.Linear(6, 12), **options)
