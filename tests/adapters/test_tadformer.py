"""TADFormer's layer: shared factors, a filter on the lanes."""

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.tadformer_oracle import lane, shared
from torch import nn

from mtpeft.adapters import NotMergeableError, adapt_layer
from mtpeft.adapters.lanes.current import within
from mtpeft.adapters.ranks.low_rank import low_rank_adapters
from mtpeft.adapters.tadformer import FILTERS, Passed

TASKS = ('semseg', 'depth', 'normals')


def layer(tasks=TASKS, **options):
    torch.manual_seed(0)
    options = dict(type='TADFormer', rank=3, **options)
    adapted = adapt_layer(nn.Linear(6, 5), options, tasks).double()
    stir(adapted)
    return adapted


@pytest.mark.parametrize('filter', FILTERS)
def test_lanes_are_the_formula(filter):
    adapted = layer(filter=filter).eval()
    adapter = adapted.adapter
    x, own = torch.randn(2, 4, 5, 6).double(), torch.randn(3, 2, 4, 5, 6).double()
    with torch.no_grad():
        y, memory = adapter.shared_and_memory(adapted, x)
        lanes = adapter.all_lanes(adapted, own, memory.frozen)
        torch.testing.assert_close(y, shared(adapted, x))
        for t in range(3):
            params = {k: v[t] for k, v in adapter.lane_tensors(adapted).items()}
            torch.testing.assert_close(adapter.lane(adapted, own[t], params, memory), lanes[t])
            for b in range(2):
                torch.testing.assert_close(lanes[t, b], lane(adapted, x[b], own[t, b], t))
    differ = (lanes[0] - lanes[1]).abs().max()
    assert differ > 1e-3


def test_the_static_filter_starts_like_a_convolution():
    torch.manual_seed(0)
    options = dict(type='TADFormer', rank=64, filter='static')
    adapter = adapt_layer(nn.Linear(64, 64), options, TASKS).adapter
    assert adapter.task_kernel.shape == (3, 64, 3, 3) and adapter.task_bias.shape == (3, 64)
    for parameter in adapter.lane_parameters().values():
        assert 0.3 < parameter.abs().max() <= 1 / 3


def test_dropout_hits_the_low_rank_input_once():
    adapted = layer(dropout=0.5).train()
    x = torch.randn(2, 4, 5, 6).double()
    y, memory = adapted.adapter.shared_and_memory(adapted, x)
    kept = memory.dropped != 0
    assert 0.2 < kept.double().mean() < 0.8
    torch.testing.assert_close(memory.dropped[kept], 2 * x[kept])
    torch.testing.assert_close(memory.frozen, x @ adapted.weight.T + adapted.bias)
    a, b = adapted.adapter.A, adapted.adapter.B
    torch.testing.assert_close(y, memory.frozen + 4 * memory.dropped @ a.T @ b.T)
    # a lane's own input is not dropped
    own = torch.randn(3, 2, 4, 5, 6).double()
    one, two = (adapted.adapter.all_lanes(adapted, own, memory.frozen) for _ in range(2))
    assert torch.equal(one, two)


def test_layers_with_a_filter_have_no_rank_group():
    net = nn.ModuleDict(
        dict(
            plain=layer(()),
            none=layer(filter='none'),
            dynamic=layer(),
            static=layer(filter='static'),
        )
    )
    assert list(low_rank_adapters(net)) == ['plain', 'none']
    assert all(module.adapter.ranks() == {'shared': 3} for module in net.values())
    # a pruned component is out of the lanes too, as both use the same A and B
    none, x = net['none'].eval(), torch.randn(3, 2, 4, 5, 6).double()
    a, b = none.adapter.A.clone(), none.adapter.B.clone()
    group = none.adapter.groups['shared']
    group.keep(0, torch.tensor([2, 0]), {n: [p] for n, p in group.parameters.items()})
    frozen = torch.zeros(2, 4, 5, 5).double()
    expected = 4 * x @ a[[0, 2]].T @ b[:, [0, 2]].T
    torch.testing.assert_close(none.adapter.all_lanes(none, x, frozen), expected)


@pytest.mark.parametrize('prefix', [0, 2])
def test_tokens_of_a_known_map(prefix):
    adapted = layer().eval()
    adapter = adapted.adapter
    own, frozen = torch.randn(2, 3, 4, 6).double(), torch.randn(2, prefix + 12, 5).double()
    memory = Passed(frozen, None)
    tokens = torch.cat([torch.randn(2, prefix, 6).double(), own.flatten(1, 2)], 1)
    with torch.no_grad():
        with within(size=(3, 4), prefix=prefix):
            found = adapter.lane(adapted, tokens, {}, memory)
        zero = Passed(torch.zeros(2, 3, 4, 5).double(), None)
        patches = adapter.lane(adapted, own, {}, zero).flatten(1, 2)
    torch.testing.assert_close(found[:, :prefix], frozen[:, :prefix])
    torch.testing.assert_close(found[:, prefix:], frozen[:, prefix:] + patches)


def test_bad_input():
    with pytest.raises(ValueError, match="filter='dynamc' is unknown. Did you mean 'dynamic'"):
        layer(filter='dynamc')
    with pytest.raises(ValueError, match='from 1 to 5'):
        adapt_layer(nn.Linear(6, 5), dict(type='TADFormer', rank=6), TASKS)
    adapted = layer()
    _, memory = adapted.adapter.shared_and_memory(adapted, torch.randn(4, 6).double())
    with pytest.raises(ValueError, match=r'needs a map: .*got \(4, 6\).*TADFormerBackbone'):
        adapted.adapter.lane(adapted, torch.randn(4, 6).double(), {}, memory)
    with pytest.raises(NotMergeableError, match="lane of 'depth'.*only the shared path"):
        adapted.adapter.delta_weight(adapted, 'depth')
