"""Properties that hold for every registered adapter on every kind of layer."""

import copy

import pytest
import torch
from helpers.adapter_grid import LAYERS, TASKS, label, methods, stir
from torch import nn

from mtpeft.adapters import AdapterLayer, LaneBlock, NotMergeableError, adapt_layer

pytestmark = pytest.mark.parametrize('cfg', methods(), ids=label)
layers = pytest.mark.parametrize('kind', LAYERS)


def make(kind, cfg, tasks=()):
    """(original layer, adapted copy, input); skips what the method refuses by its own rule."""
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    original = build()
    if cfg.get('mode') == 'addition' and not isinstance(original, nn.Linear) and tasks:
        with pytest.raises(ValueError, match='needs a Linear layer'):
            adapt_layer(copy.deepcopy(original), cfg, tasks)
        pytest.skip('normalises the last axis: Linear layers only (refused, as just checked)')
    adapted = adapt_layer(copy.deepcopy(original), cfg, tasks).eval()
    x = torch.randn(shape)
    if cfg.get('filter', 'none') != 'none' and tasks and x.ndim < 4:
        with pytest.raises(ValueError, match='needs a map'):
            lane_block(adapted, 'loop')(x)
        pytest.skip('lanes convolve and need a map (refused, as just checked)')
    return original.eval(), adapted, x


class Block(nn.Module):
    """The smallest block: one layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def freeze(adapted):
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_(name.startswith('adapter.'))


def lane_block(adapted, strategy):
    return LaneBlock(Block(adapted), TASKS, lambda block, x: block(x), strategy)


@layers
def test_start_is_the_original_layer(cfg, kind):
    original, adapted, x = make(kind, cfg)
    torch.testing.assert_close(adapted(x), original(x), rtol=0, atol=1e-6)


@layers
def test_lanes_start_at_the_original_layer(cfg, kind):
    original, adapted, x = make(kind, cfg, TASKS)
    _, lanes = lane_block(adapted, 'vmap')(x)
    for lane in lanes:
        torch.testing.assert_close(lane, original(x), rtol=0, atol=1e-6)


@layers
def test_frozen_keys_are_unchanged(cfg, kind):
    original, adapted, _ = make(kind, cfg, TASKS)
    assert isinstance(adapted, AdapterLayer) and isinstance(adapted, type(original))
    state = adapted.state_dict()
    frozen = {k: v for k, v in state.items() if not k.startswith('adapter.')}
    assert frozen.keys() == original.state_dict().keys()
    for key, value in original.state_dict().items():
        assert torch.equal(frozen[key], value)


@layers
def test_merged_weight_equals_the_shared_path(cfg, kind):
    _, adapted, x = make(kind, cfg)
    stir(adapted)
    if not adapted.adapter.mergeable:
        with pytest.raises(NotMergeableError, match='cannot be merged'):
            adapted.adapter.weight(adapted)
        return
    plain = LAYERS[kind][0]().eval()
    with torch.no_grad():
        plain.load_state_dict({**_frozen(adapted), 'weight': adapted.adapter.weight(adapted)})
        moved = (adapted(x) - adapted.frozen(x)).abs().max()
    assert moved > 1e-2
    torch.testing.assert_close(plain(x), adapted(x), rtol=1e-5, atol=1e-5)


@layers
def test_merged_task_weight_equals_its_lane(cfg, kind):
    _, adapted, x = make(kind, cfg, TASKS)
    stir(adapted)
    try:
        weights = [adapted.adapter.weight(adapted, task) for task in TASKS]
    except NotMergeableError:
        adapter = adapted.adapter
        assert adapter.coupling.reads or not adapter.mergeable
        return
    _, lanes = lane_block(adapted, 'vmap')(x)
    for weight, lane in zip(weights, lanes, strict=True):
        plain = LAYERS[kind][0]().eval()
        with torch.no_grad():
            plain.load_state_dict({**_frozen(adapted), 'weight': weight})
        torch.testing.assert_close(plain(x), lane, rtol=1e-5, atol=1e-5)


@layers
def test_strategies_agree_in_value_and_gradient(cfg, kind):
    _, adapted, x = make(kind, cfg, TASKS)
    stir(adapted)
    freeze(adapted)
    adapted, x = adapted.double(), x.double()
    results = {}
    for strategy in ('loop', 'fold', 'vmap'):
        adapted.zero_grad()
        shared, lanes = lane_block(adapted, strategy)(x)
        (shared.square().mean() + (lanes.pow(3)).mean()).backward()
        grads = {n: p.grad.clone() for n, p in adapted.named_parameters() if p.grad is not None}
        results[strategy] = (shared, lanes, grads)
    assert results['loop'][2].keys() == {n for n, p in adapted.adapter.named_parameters('adapter')}
    for strategy in ('fold', 'vmap'):
        torch.testing.assert_close(results[strategy], results['loop'], rtol=1e-4, atol=1e-5)


@layers
def test_state_dict_names_tasks_and_takes_any_order(cfg, kind):
    _, adapted, x = make(kind, cfg, TASKS)
    stir(adapted)
    _, other, _ = make(kind, cfg, TASKS[::-1])
    state = adapted.state_dict()
    for name in adapted.adapter.lane_parameters():
        assert {f'adapter.{name}.{task}' for task in TASKS} <= state.keys()
        assert f'adapter.{name}' not in state
    other.load_state_dict(state, strict=True)
    _, lanes = lane_block(adapted, 'vmap')(x)
    block = LaneBlock(Block(other), TASKS[::-1], lambda b, x: b(x), 'vmap')
    torch.testing.assert_close(block(x)[1].flip(0), lanes)


def test_wrong_state_dicts_are_refused(cfg):
    _, adapted, _ = make('linear on a map', cfg, TASKS)
    state = adapted.state_dict()
    # a parameter of the lanes, or what makes the tasks differ where they share one base
    keys = [key for key in state if key.endswith('.depth')]
    if cfg['type'] == 'TADFormer' and cfg['filter'] != 'static':
        assert not keys and not adapted.adapter.lane_parameters()
        pytest.skip('all tasks have the same parameters: no key names one')
    assert keys
    key = keys[0]
    name = key.removeprefix('adapter.').removesuffix('.depth')
    without = {k: v for k, v in state.items() if k != key}
    with pytest.raises(RuntimeError, match=f'Missing key.*{key}'):
        adapted.load_state_dict(without)
    with pytest.raises(RuntimeError, match=f'Unexpected key.*{name}.edge'):
        adapted.load_state_dict({**state, f'adapter.{name}.edge': state[key]})
    # a clock's tokens are no stacked parameter: there torch says it
    own = name in adapted.adapter.lane_parameters()
    message = ': expected shape' if own else ': copying a param with shape'
    with pytest.raises(RuntimeError, match=key + message):
        adapted.load_state_dict({**state, key: torch.zeros(1, 1)})


@layers
def test_frozen_weight_gets_no_gradient_and_adapters_do(cfg, kind):
    _, adapted, x = make(kind, cfg, TASKS)
    freeze(adapted)
    stir(adapted)
    before = adapted.weight.clone()
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    shared, lanes = lane_block(adapted, 'vmap')(x)
    (shared.square().mean() + lanes.square().mean()).backward()
    moved = {n: p.detach().clone() for n, p in adapted.adapter.named_parameters()}
    optimizer.step()
    assert torch.equal(adapted.weight, before)
    for name, parameter in adapted.adapter.named_parameters():
        assert not torch.equal(parameter, moved[name]), name


def test_lane_dropout_and_randomness_run_in_training(cfg):
    _, adapted, x = make('linear on a map', cfg, TASKS)
    adapted.train()
    shared, lanes = lane_block(adapted, 'vmap')(x)
    assert torch.isfinite(shared).all() and torch.isfinite(lanes).all()


def test_parameters_are_all_named_by_component(cfg):
    _, adapted, _ = make('linear on a map', cfg, TASKS)
    adapter = adapted.adapter
    kinds = adapter.shared_parameters, adapter.task_parameters, adapter.base_parameters
    named = [name for kind in kinds for group in kind.values() for name in group]
    assert sorted(named) == sorted(n for n, _ in adapter.named_parameters())


def _frozen(adapted):
    return {k: v for k, v in adapted.state_dict().items() if not k.startswith('adapter.')}
