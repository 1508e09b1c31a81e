"""Merged layers: the plain class again, one weight a lane, or the shared path alone."""

import copy

import pytest
import torch
from helpers.adapter_grid import LAYERS, TASKS, label, methods, stir
from torch import nn

from mtpeft.adapters import AdapterLayer, LaneBlock, adapt_layer
from mtpeft.adapters.merged import MergedShared, merge_layer

methods_and_layers = [pytest.mark.parametrize('cfg', methods(), ids=label),
                      pytest.mark.parametrize('kind', LAYERS)]  # fmt: skip


def grid(test):
    for mark in methods_and_layers:
        test = mark(test)
    return test


def make(kind, cfg, tasks=()):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    try:
        adapted = adapt_layer(build(), cfg, tasks).eval().double()
    except ValueError:
        pytest.skip('refused, see test_adapter_properties.py')
    stir(adapted)
    if cfg.get('filter', 'none') != 'none' and tasks and len(shape) < 4:
        pytest.skip('lanes convolve and need a map')
    return adapted, torch.randn(shape).double()


def run(layer, x, strategy):
    block = nn.Sequential(layer)
    return LaneBlock(block, TASKS, lambda block, x: block(x), strategy)(x)


@grid
def test_a_shared_layer_is_plain_again(kind, cfg):
    adapted, x = make(kind, cfg)
    new, done, reason = merge_layer(adapted, in_lane_block=False)
    assert (new is None) == (done == 'left') == bool(reason) == (not adapted.adapter.mergeable)
    if new is not None:
        assert type(new) is type(LAYERS[kind][0]())
        assert new.state_dict().keys() == LAYERS[kind][0]().state_dict().keys()
        torch.testing.assert_close(new(x), adapted(x))


@grid
@pytest.mark.parametrize('strategy', ['vmap', 'fold', 'loop'])
@pytest.mark.parametrize('idle', [False, True])
def test_lanes_give_the_same(kind, cfg, strategy, idle):
    adapted, x = make(kind, cfg, TASKS)
    before = {n: p.clone() for n, p in adapted.named_parameters()}
    new, done, reason = merge_layer(adapted, in_lane_block=True, idle=idle)
    if new is None:
        assert done == 'left' and reason
        return
    expected, found = run(adapted, x, strategy), run(new, x, strategy)
    if not idle:  # else nobody reads the shared stream
        torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
    assert not any(p.requires_grad for n, p in new.named_parameters() if n.startswith('adapter.'))
    for name, parameter in adapted.named_parameters():
        assert torch.equal(parameter, before[name])


@grid
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize('tasks', [(), TASKS], ids=['shared', 'lanes'])
def test_merged_weights_have_the_type_of_the_layer(kind, cfg, dtype, tasks):
    adapted, _ = make(kind, cfg, tasks)
    new, _, _ = merge_layer(adapted.to(dtype), in_lane_block=bool(tasks))
    for name, value in {} if new is None else new.state_dict().items():
        assert value.dtype == dtype, name


@pytest.mark.parametrize('shape', [(6, 6), (6, 24), (48, 48)])
@pytest.mark.parametrize('rank', [1, 3, 6])
def test_the_shared_path_is_merged_where_that_takes_fewer_operations(shape, rank):
    layer = adapt_layer(nn.Linear(*shape), dict(type='MTLoRA', rank=rank, task_rank=1), TASKS)
    new, done, _ = merge_layer(layer.eval(), in_lane_block=True)
    unmerged = shape[0] * shape[1] + rank * sum(shape)
    assert (done == 'shared path') == (2 * shape[0] * shape[1] < unmerged)
    if new is not None:
        assert isinstance(new.adapter, MergedShared)
        assert not hasattr(new.adapter.kept, 'A')


def test_in_a_lane_block_a_shared_layer_is_remembered():
    layer = adapt_layer(nn.Linear(4, 4), dict(type='LoRA', rank=2)).eval()
    new, _, _ = merge_layer(layer, in_lane_block=True)
    assert isinstance(new, AdapterLayer) and not list(new.adapter.parameters())
    assert new.state_dict().keys() == nn.Linear(4, 4).state_dict().keys()


def test_without_a_shared_stream_there_is_no_shared_weight():
    layer = adapt_layer(nn.Linear(4, 4), dict(type='LoRA', rank=2), TASKS).eval()
    weight = layer.adapter.weight(layer, 'depth')
    layer.adapter.without_shared()
    new, done, _ = merge_layer(layer, in_lane_block=True, has_shared=False)
    assert done == 'lanes' and new.weight is None
    assert set(new.state_dict()) == {'bias', *(f'adapter.task_weight.{t}' for t in TASKS)}
    assert torch.equal(new.state_dict()['adapter.task_weight.depth'], weight)
    twin = copy.deepcopy(new)
    twin.load_state_dict(new.state_dict(), strict=True)
