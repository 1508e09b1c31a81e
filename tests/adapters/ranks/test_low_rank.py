"""Properties of every low-rank adapter: masks, pruning, files."""

import copy

import pytest
import torch
from helpers.adapter_grid import LAYERS, TASKS, label, low_rank_methods, stir
from torch import nn

from mtpeft.adapters import LaneBlock, adapt_layer, low_rank_adapters, rank_pattern
from mtpeft.adapters.ranks.low_rank import compact, pruned_parameters

pytestmark = pytest.mark.parametrize('cfg', low_rank_methods(), ids=label)
kinds = pytest.mark.parametrize('kind', ['linear', 'conv 3x3 stride 2', 'conv same'])


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def make(kind, cfg, rank=4, task_rank=3):
    """An adapted layer with lanes in training mode, away from its start, and an input."""
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    if cfg.get('mode') == 'addition' and kind != 'linear':
        pytest.skip('normalises the last axis: Linear layers only (test_adapter_properties)')
    layer = adapt_layer(
        build(), {**cfg, 'rank': rank, 'task_rank': task_rank, 'dropout': 0.0}, TASKS
    )
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(name.startswith('adapter.'))
    stir(layer)
    return layer.train(), torch.randn(shape)


def run(layer, x, strategy='vmap'):
    """Outputs of the shared stream and the lanes, and gradients by parameter."""
    layer.zero_grad()
    block = LaneBlock(Block(layer), TASKS, lambda block, x: block(x), strategy)
    shared, lanes = block(x)
    (shared.square().mean() + lanes.pow(3).mean()).backward()
    grads = {n: p.grad.clone() for n, p in layer.adapter.named_parameters() if p.grad is not None}
    return shared.detach(), lanes.detach(), grads


def groups(layer):
    return layer.adapter.groups.values()


@kinds
@pytest.mark.parametrize('strategy', ['vmap', 'loop'])
def test_a_mask_is_a_truncation(cfg, kind, strategy):
    """Output and gradients with a prefix equal those of a layer whose matrices are cut to it."""
    layer, x = make(kind, cfg)
    cut = copy.deepcopy(layer)
    for group in groups(layer):
        group.prefix = torch.full((len(group.streams),), 2)
    for group in groups(cut):
        for name in group.factors:
            parameter = getattr(cut.adapter, name)
            short = group.moved(name, parameter.detach())[:, :2].movedim(1, group.factors[name] + 1)
            setattr(cut.adapter, name, nn.Parameter(short if group.stacked else short[0]))
        group.active = [2] * len(group.streams)
    masked, truncated = run(layer, x, strategy), run(cut, x, strategy)
    torch.testing.assert_close(masked[:2], truncated[:2])
    for group in groups(layer):
        for name in group.factors:
            ours, theirs = (group.moved(name, grads[name]) for grads in (masked[2], truncated[2]))
            torch.testing.assert_close(ours[:, :2], theirs)
            assert ours[:, 2:].abs().max() == 0
    for name in masked[2].keys() - {n for g in groups(layer) for n in g.factors}:
        torch.testing.assert_close(masked[2][name], truncated[2][name])


def test_every_stream_has_a_prefix_of_its_own(cfg):
    layer, x = make('linear', cfg)
    if 'task' not in layer.adapter.groups:
        assert list(layer.adapter.groups) == ['shared', 'base']
        pytest.skip('all tasks share one base, so one prefix')
    task = layer.adapter.groups['task']
    _, whole, _ = run(layer, x)
    task.prefix = torch.tensor([3, 1, 3])
    _, one_short, _ = run(layer, x)
    same = [torch.equal(a, b) for a, b in zip(whole, one_short, strict=True)]
    assert same == [True, False, True]


def test_evaluation_uses_all_active_components(cfg):
    layer, x = make('linear', cfg)
    layer.eval()
    before = run(layer, x)[:2]
    for group in groups(layer):
        group.prefix = torch.ones(len(group.streams), dtype=torch.long)
    torch.testing.assert_close(run(layer, x)[:2], before, rtol=0, atol=0)
    layer.train()
    assert not torch.equal(run(layer, x)[1], before[1])


@kinds
def test_the_order_of_components_means_nothing(cfg, kind):
    layer, x = make(kind, cfg)
    before = run(layer, x)[:2]
    for group in groups(layer):
        for index in range(len(group.streams)):
            order = torch.arange(group.rank).flip(0)
            group.keep(index, order, {n: [p.data] for n, p in group.parameters.items()})
    torch.testing.assert_close(run(layer, x)[:2], before)


@kinds
def test_pruned_components_are_gone_for_ever(cfg, kind):
    """What remains is what the kept components do; the optimizer cannot bring others back."""
    layer, x = make(kind, cfg)
    expected = copy.deepcopy(layer)
    for group, other in zip(groups(layer), groups(expected), strict=True):
        for index in range(len(group.streams)):
            keep = torch.tensor([2, 0][: 1 + index % 2])
            for name, p in other.parameters.items():
                rows = other.moved(name, p.data)[index]
                rows[[i for i in range(other.rank) if i not in keep]] = 0
            group.keep(index, keep, {n: [p.data] for n, p in group.parameters.items()})
    torch.testing.assert_close(run(layer, x)[:2], run(expected, x)[:2])
    pattern = rank_pattern(nn.ModuleDict(dict(fc=layer)))['fc']
    optimizer = torch.optim.AdamW(layer.adapter.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        run(layer, x)
        optimizer.step()
    for group in groups(layer):
        for name, parameter in group.parameters.items():
            for index, active in enumerate(group.active):
                assert group.moved(name, parameter)[index, active:].abs().sum() == 0
                assert active == pattern[group.streams[index]]


def prune(layer, ranks):
    """Cut streams to ``ranks``, in the order of the groups' streams."""
    ranks = iter(ranks)
    for group in groups(layer):
        for index in range(len(group.streams)):
            order = torch.arange(min(next(ranks), group.active[index]))
            group.keep(index, order, {n: [p.data] for n, p in group.parameters.items()})


@kinds
def test_a_file_holds_active_components_and_loads_into_a_fresh_layer(cfg, kind):
    layer, x = make(kind, cfg)
    size = sum(v.numel() for v in layer.state_dict().values())
    prune(layer, [2, 1, 3, 2])
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    pruned = pruned_parameters(layer)
    assert sum(v.numel() for v in state.values()) == size - pruned < size
    fresh, _ = make(kind, cfg)
    fresh.load_state_dict(state, strict=True)
    assert fresh.adapter.ranks() == layer.adapter.ranks()
    torch.testing.assert_close(run(fresh, x), run(layer, x), rtol=0, atol=0)
    # other tasks' order, and what shrinks on from there
    prune(fresh, [1] * 4)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    torch.testing.assert_close(run(fresh, x)[:2], run(layer, x)[:2], rtol=0, atol=0)


def test_compacting_changes_nothing_but_the_room(cfg):
    layer, x = make('linear', cfg)
    prune(layer, [2, 1, 2, 1])
    before, state = run(layer.eval(), x)[:2], layer.state_dict()
    room = sum(p.numel() for p in layer.parameters())
    compact(nn.ModuleDict(dict(fc=layer)))
    torch.testing.assert_close(run(layer, x)[:2], before, rtol=0, atol=0)
    assert sum(p.numel() for p in layer.parameters()) < room
    for key, value in layer.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_ranks_that_do_not_fit_are_refused(cfg):
    layer, _ = make('linear', cfg)
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    more, _ = make('linear', cfg, rank=6, task_rank=5)
    group = layer.adapter.groups.get('base') or layer.adapter.groups['task']
    ending = '.depth' if group.stacked else ''
    first, last = (f'{name}{ending}' for name in list(group.factors)[:2])
    with pytest.raises(RuntimeError, match=rf'{first}: .*from 1 to 3.*got {first} \(5'):
        layer.load_state_dict(more.state_dict())
    odd = {**before, f'adapter.{first}': before[f'adapter.{first}'][:1]}
    with pytest.raises(RuntimeError, match=f'the same rank r.*{first}.*{last}'):
        layer.load_state_dict(odd)
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_counts_of_what_is_pruned(cfg):
    layer, _ = make('linear', cfg)
    model = nn.ModuleDict(dict(fc=layer))
    assert pruned_parameters(model) == 0
    prune(layer, [1] * 4)
    streams = [(g, s) for g in groups(layer) for s in g.streams]
    # in 12, out 10: a component has 22 numbers, and one between A and B where there is one
    sizes = [22 + (len(group.factors) == 3) for group, _ in streams]
    expected = sum(n * (group.rank - 1) for n, (group, _) in zip(sizes, streams, strict=True))
    assert pruned_parameters(model) == expected
    assert rank_pattern(model)['fc'] == {stream: 1 for _, stream in streams}
    assert list(low_rank_adapters(model)) == ['fc']


@kinds
def test_gates_weight_components_and_get_their_gradient(cfg, kind):
    """As components that are multiplied by hand, in training and evaluation; also where merged."""
    layer, x = make(kind, cfg)
    other = copy.deepcopy(layer)
    generator = torch.Generator().manual_seed(3)
    for group, by_hand in zip(groups(layer), groups(other), strict=True):
        shape = len(group.streams), group.rank
        group.gate = torch.rand(shape, generator=generator).requires_grad_()
        by_hand.multiply(group.gate.detach(), by_hand.parameters[by_hand.last].data)
    for mode in (True, False):
        found, wanted = run(layer.train(mode), x), run(other.train(mode), x)
        torch.testing.assert_close(found[:2], wanted[:2])
    for group, by_hand in zip(groups(layer), groups(other), strict=True):
        assert group.gate.grad.abs().min() > 0
        for stream in group.streams:
            for one, two in zip(group.stream_factors(stream).values(),
                                by_hand.stream_factors(stream).values(), strict=True):  # fmt: skip
                torch.testing.assert_close(one, two)
    if cfg['type'] == 'DoRA' and cfg.get('detach_norm', True):
        return  # its gradient is not that of its loss, by its own rule
    # finite differences along one gate of each group
    block = LaneBlock(Block(layer.eval()), TASKS, lambda block, x: block(x))

    @torch.no_grad()
    def loss():
        shared, lanes = block(x)
        return (shared.double().square().mean() + lanes.double().pow(3).mean()).item()

    for group in groups(layer):
        # two passes were taken
        gradient, values = group.gate.grad[-1, 0].item() / 2, []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                group.gate[-1, 0] += step
            values.append(loss())
            with torch.no_grad():
                group.gate[-1, 0] -= step
        slope = (values[0] - values[1]) / 2e-2
        assert slope == pytest.approx(gradient, rel=2e-2, abs=1e-4)
