"""Sine-AWB: its formula, its lanes, its memory, what it refuses. (More in test_adapter_properties
and test_ranks, which run over every adapter.)"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import stir
from scipy.ndimage import gaussian_filter
from torch import nn

from mtpeft.adapters import ClockNet, LaneBlock, NotMergeableError, SineAWB, adapt_layer
from mtpeft.adapters.lanes.current import within

TASKS = ('semseg', 'depth')


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def lanes_of(layer, x, strategy='vmap'):
    return LaneBlock(Block(layer), TASKS, lambda block, x: block(x), strategy)(x)


def reference(adapter, task, gain):
    """M_t by numpy and scipy, from the parameters by their names in the state dict."""
    state = {k: v.double().numpy() for k, v in adapter.state_dict().items()}
    own = f'.{task}' if adapter.base == 'independent' else ''
    prefix = 'task' if own else 'base'
    a, w, b = (state[f'{prefix}_{name}{own}'] for name in 'AWB')
    clock = adapter.clock.double()
    omega = float(clock.frequencies([task], adapter.site))
    if w.ndim == 1:
        m = (b * w) @ a
    else:
        m = np.einsum('or,rhw,ri->oihw', b, w, a)
    return gain * gaussian_filter(np.sin(omega * m), 1, radius=3, mode='nearest', axes=(0, 1))


@pytest.mark.parametrize('base', ['shared', 'independent'])
@pytest.mark.parametrize('make, kernel_size', [
    (lambda: nn.Linear(12, 10), None), (lambda: nn.Conv2d(6, 8, 1), None),
    (lambda: nn.Conv2d(6, 8, 3, stride=2, padding=1), None), (lambda: nn.Conv2d(6, 8, 1), 3),
    (lambda: nn.Linear(12, 10), 5),
])  # fmt: skip
def test_the_formula(make, kernel_size, base):
    layer = adapt_layer(
        make(), dict(type='SineAWB', rank=3, kernel_size=kernel_size, base=base), TASKS
    )
    stir(layer)
    linear = isinstance(layer, nn.Linear)
    x = torch.randn((2, 5, 7, 12) if linear else (2, 6, 5, 7))
    shared, lanes = lanes_of(layer, x)
    weight, bias, adapter = layer.weight, layer.bias, layer.adapter
    for index, task in enumerate(TASKS):
        size = kernel_size or (1 if linear else layer.kernel_size[0])
        fan_in = weight.shape[1] * size**2
        kernel = torch.from_numpy(reference(adapter, task, fan_in**-0.5)).float()
        if linear and kernel_size is None:
            expected = F.linear(x, weight, bias) + x @ kernel.T
        elif linear:
            patches = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=size // 2)
            expected = F.linear(x, weight, bias) + patches.permute(0, 2, 3, 1)
        else:
            padding = size // 2 if kernel_size else layer.padding
            expected = layer.frozen(x) + F.conv2d(x, kernel, None, layer.stride, padding)
        torch.testing.assert_close(lanes[index], expected, rtol=1e-4, atol=1e-5)
    # the shared stream is a LoRA
    a, b = adapter.A.float(), adapter.B.float()
    torch.testing.assert_close(
        shared, layer.frozen(x) + adapter.scale * layer.low_rank(x, a, b), rtol=1e-4, atol=1e-5
    )


def test_after_one_step_a_gradient_reaches_everything():
    """At the start B is 0, so only B has one; the tasks' frequencies differ throughout."""
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, kernel_size=None), TASKS)
    adapter = layer.adapter
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    target = torch.randn(2, 4, 10)
    x = torch.randn(4, 12)
    grads = []
    for _ in range(2):
        assert adapter.frequencies()[0] != adapter.frequencies()[1]
        optimizer.zero_grad()
        shared, lanes = lanes_of(layer, x)
        ((lanes - target).square().mean() + (shared - target[0]).square().mean()).backward()
        grads.append({n: float(p.grad.abs().sum()) for n, p in adapter.named_parameters()})
        optimizer.step()
    first = {name for name, size in grads[0].items() if size > 0}
    assert first == {'B', 'base_B'}
    names = {'base_A', 'base_W', 'base_B', 'clock_net.tokens.semseg', 'clock_net.tokens.depth',
             'clock_net.heads.0.W_q', 'clock_net.heads.0.s', 'clock_net.heads.0.c'}  # fmt: skip
    assert names <= grads[1].keys()
    assert all(size > 0 for size in grads[1].values())
    assert adapter.frequencies()[0] != adapter.frequencies()[1]


def test_tasks_differ_by_their_frequency_alone():
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, kernel_size=None), TASKS)
    stir(layer)
    one, two = layer.adapter.kernels()
    assert not torch.allclose(one, two, atol=1e-2)
    with torch.no_grad():
        layer.adapter.clock.heads[0].W_q.zero_()
    one, two = layer.adapter.kernels()
    torch.testing.assert_close(one, two)


def test_one_clock_serves_many_layers_and_is_the_module_of_none():
    clock = ClockNet(TASKS, channels=8, per='layer')
    layers = [
        adapt_layer(nn.Linear(6, 6), dict(type='SineAWB', rank=2, clock=clock), TASKS)
        for _ in range(2)
    ]
    for layer in layers:
        assert not [name for name in layer.state_dict() if 'clock' in name]
        assert layer.adapter.clock is clock
    one, two = (layer.adapter.frequencies() for layer in layers)
    assert not torch.equal(one, two)


def test_weights_of_all_lanes_are_formed_once_and_kept_in_evaluation(monkeypatch):
    calls = []
    make = SineAWB.kernels
    monkeypatch.setattr(SineAWB, 'kernels', lambda self, w: calls.append(1) or make(self, w))
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, kernel_size=None), TASKS)
    stir(layer)
    x = torch.randn(4, 12)
    lanes_of(layer.train(), x)
    assert len(calls) == 0  # each lane's is formed where it is passed
    layer.eval()
    with torch.no_grad():
        first = lanes_of(layer, x)[1]
        torch.testing.assert_close(lanes_of(layer, x)[1], first, rtol=0, atol=0)
        assert len(calls) == 1
        layer.adapter.clock.tokens['depth'].mul_(-1)
        second = lanes_of(layer, x)[1]
    assert len(calls) == 2
    assert torch.equal(second[0], first[0]) and not torch.equal(second[1], first[1])


def test_pruned_and_masked_components_are_not_in_the_base():
    layer = adapt_layer(
        nn.Linear(12, 10), dict(type='SineAWB', rank=3, task_rank=4, kernel_size=None), TASKS
    )
    stir(layer)
    adapter = layer.adapter.train()
    group = adapter.groups['base']
    group.prefix = torch.tensor([2])
    assert torch.linalg.matrix_rank(adapter.matrix()[0]) == 2
    # merging is of the whole adapter, also within a training step
    merged = adapter.delta_weight(layer, 'depth')
    group.prefix = None
    torch.testing.assert_close(merged, adapter.kernels()[1])
    assert adapter.ranks() == {'shared': 3, 'base': 4}
    assert not group.product


@pytest.mark.parametrize('shape', [(2, 35, 12), (2, 38, 12)])
def test_a_kernel_finds_the_map_behind_tokens(shape):
    """(B, prefix + H W, C) of a known map is (B, H, W, C); tokens before it are left alone."""
    prefix = shape[1] - 35
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, kernel_size=3), TASKS)
    stir(layer)
    x = torch.randn(shape)
    with within(size=(5, 7), prefix=prefix):
        _, lanes = lanes_of(layer, x)
    _, on_map = lanes_of(layer, x[:, prefix:].unflatten(1, (5, 7)))
    torch.testing.assert_close(lanes[:, :, prefix:], on_map.flatten(2, 3))
    torch.testing.assert_close(lanes[0, :, :prefix], layer.frozen(x[:, :prefix]))


def test_a_kernel_without_a_map_is_refused():
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, kernel_size=3), TASKS)
    with pytest.raises(ValueError, match=r'needs a map.*got \(2, 35, 12\).*kernel_size=None'):
        lanes_of(layer, torch.randn(2, 35, 12))
    wrong = pytest.raises(ValueError, match=r'got \(2, 35, 12\) with map \(6, 6\)')
    with within(size=(6, 6)), wrong:
        lanes_of(layer, torch.randn(2, 35, 12))


def test_a_kernel_beside_the_layer_cannot_be_merged():
    layer = adapt_layer(nn.Conv2d(6, 8, 1), dict(type='SineAWB', rank=3, kernel_size=3), TASKS)
    with pytest.raises(NotMergeableError, match="'depth'.*only kernel_size=None"):
        layer.adapter.weight(layer, 'depth')
    assert layer.adapter.weight(layer).shape == (8, 6, 1, 1)


@pytest.mark.parametrize('make, options, message', [
    (lambda: nn.Linear(12, 10), dict(kernel_size=4), 'odd number or None, got 4'),
    (lambda: nn.Conv2d(6, 8, 3), dict(kernel_size=5), 'own 3 x 3.*got kernel_size=5'),
    (lambda: nn.Linear(12, 10), dict(base='independant'), "base='independant'.*independent"),
    (lambda: nn.Linear(12, 10), dict(task_rank=11), 'task_rank.*1 to 10'),
    (lambda: nn.Linear(1024, 1024), dict(limit=1, kernel_size=None),
     '2 lanes take 8 MB, expected at most limit=1'),
    (lambda: nn.Conv2d(512, 512, 1), dict(limit=4, kernel_size=3), 'take 18 MB.*kernel_size=1'),
])  # fmt: skip
def test_bad_options(make, options, message):
    with pytest.raises(ValueError, match=message):
        adapt_layer(make(), {**dict(type='SineAWB', rank=2), **options}, TASKS)


def test_tasks_and_tokens_must_match():
    with pytest.raises(ValueError, match="cannot be called 'base'"):
        adapt_layer(nn.Linear(8, 8), dict(type='SineAWB', rank=2), ('base', 'depth'))
    clock = ClockNet(('semseg',))
    with pytest.raises(KeyError, match="no token for task 'depth'"):
        adapt_layer(nn.Linear(8, 8), dict(type='SineAWB', rank=2, clock=clock), TASKS)


def test_without_tasks_it_is_a_lora():
    layer = adapt_layer(nn.Linear(8, 8), dict(type='SineAWB', rank=2))
    assert {n for n, _ in layer.adapter.named_parameters()} == {'A', 'B'}
    assert layer.adapter.ranks() == {'shared': 2}


# -- a factor of the shared LoRA as one of the base ------------------------------------------------


REUSED = {'A': ['A'], 'B': ['B'], 'both': ['A', 'B']}


def reusing(reuse, **options):
    layer = nn.Linear(12, 10)
    cfg = dict(type='SineAWB', rank=3, reuse=reuse, **options)
    layer = adapt_layer(layer, cfg, TASKS)
    stir(layer)
    return layer


@pytest.mark.parametrize('reuse', REUSED)
@pytest.mark.parametrize('kernel_size', [None, 3])
def test_a_reused_factor_is_one_parameter_of_both(reuse, kernel_size):
    layer = reusing(reuse, kernel_size=kernel_size)
    adapter = layer.adapter
    own = {n for n, _ in adapter.named_parameters(recurse=False)}
    assert own == {'A', 'B', 'base_W', *(f'base_{f}' for f in 'AB' if f not in REUSED[reuse])}
    a, b = (getattr(adapter, f if f in REUSED[reuse] else f'base_{f}') for f in 'AB')
    taps = [()] if kernel_size is None else [(i, j) for i in range(3) for j in range(3)]
    for tap in taps:
        m = b @ torch.diag(adapter.base_W[(slice(None), *tap)]) @ a
        torch.testing.assert_close(adapter.matrix()[0][(..., *tap)], m)
    # the shared stream is the LoRA that it was
    x = torch.randn(2, 5, 7, 12)
    shared, lanes = lanes_of(layer, x)
    low_rank = adapter.scale * layer.low_rank(x, adapter.A, adapter.B)
    torch.testing.assert_close(shared, layer.frozen(x) + low_rank, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        adapter.delta_weight(layer), adapter.scale * adapter.B @ adapter.A, rtol=1e-4, atol=1e-5
    )
    # and both give a gradient
    for part in (shared, lanes):
        names = {n for n, p in adapter.named_parameters() if p.grad is not None}
        for name in names:
            adapter.get_parameter(name).grad = None
        part.square().sum().backward(retain_graph=True)
        for factor in REUSED[reuse]:
            assert getattr(adapter, factor).grad.abs().sum() > 0


@pytest.mark.parametrize('reuse', REUSED)
def test_a_pruned_component_of_a_reused_factor_is_gone_from_both(reuse):
    layer = reusing(reuse, kernel_size=None)
    adapter = layer.adapter.train()
    (group,) = adapter.groups.values()
    assert adapter.ranks() == {'shared': 3}
    group.prefix = torch.tensor([1])
    assert torch.linalg.matrix_rank(adapter.matrix()[0]) == 1
    a, b, _ = adapter._shared_terms(layer)
    assert torch.linalg.matrix_rank(b @ a) == 1
    group.prefix = None
    group.keep(0, torch.tensor([2, 0]), {n: [p.data] for n, p in group.parameters.items()})
    assert torch.linalg.matrix_rank(adapter.matrix()[0]) == 2
    fresh = reusing(reuse, kernel_size=None)
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh.adapter.kernels(), adapter.kernels())
    torch.testing.assert_close(fresh.adapter.weight(fresh), adapter.weight(layer))


def test_the_start_with_a_reused_factor_is_the_pretrained_layer():
    for reuse in REUSED:
        layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, reuse=reuse), TASKS)
        x = torch.randn(2, 4, 4, 12)
        shared, lanes = lanes_of(layer, x)
        torch.testing.assert_close(shared, layer.frozen(x))
        torch.testing.assert_close(lanes[1], layer.frozen(x))


@pytest.mark.parametrize('options, message', [
    (dict(reuse='C'), "reuse='C'.*"), (dict(reuse='A', task_rank=2), 'task_rank.*got 2'),
    (dict(reuse='A', base='independent'), 'exclude each other'),
])  # fmt: skip
def test_what_cannot_be_reused(options, message):
    with pytest.raises(ValueError, match=message):
        adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, **options), TASKS)
    layer = adapt_layer(nn.Linear(12, 10), dict(type='SineAWB', rank=3, reuse='B'), TASKS)
    with pytest.raises(ValueError, match="reuse='B' ties the base"):
        layer.adapter.without_shared()
