"""HyperFormer: every weight against a loop over layers and tasks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import stir
from helpers.backbones import MLP, TASKS, TINY, wake
from torch import nn

from mtpeft.adapters import HyperNetwork, adapt_layer
from mtpeft.models.backbones import AdapterBackbone

CFG = dict(type='HyperFormer', reduction=4, embedding=5, hidden=16)


def backbone(family='timm Swin', tasks=TASKS, targets=None, **options):
    cfg = {**CFG, **{k: options.pop(k) for k in ('generators', 'bias') if k in options}}
    targets = targets or (['proj', 'fc2'] if 'Swin' in family else MLP[family])
    model = AdapterBackbone(
        TINY[family],
        plugins=[dict(cfg=cfg, targets=targets, lanes='task')],
        tasks=tasks,
        **{'streams': 'network', **options},
    )
    wake(model.network)
    return model


def projected(state, *embeddings):
    """The condition, by torch's functions from the state dict."""
    x = torch.cat(embeddings)
    x = F.relu(F.linear(x, state['projector.0.weight'], state['projector.0.bias']))
    x = F.linear(x, state['projector.2.weight'], state['projector.2.bias'])
    return F.layer_norm(x, x.shape, state['projector.3.weight'], state['projector.3.bias'])


@pytest.mark.parametrize('family', ['timm Swin', 'mmseg Swin', 'timm ViT', 'timm EfficientNet'])
def test_weights_are_generated_of_task_block_and_position(family):
    model = backbone(family)
    stir(model, 0.3)
    state = model.commons['0'].state_dict()
    blocks, positions = [], []
    for name, layer in model.adapter_layers().items():
        block = max((b for s in model.family.stages for b in s.blocks
                     if name.startswith(f'{b}.')), key=len)  # fmt: skip
        position = name[len(block) + 1 :]
        blocks += [block] if block not in blocks else []
        positions += [position] if position not in positions else []
        out, m = layer.weight.shape[0], max(1, round(layer.weight.shape[0] / 4))
        found = layer.adapter.lane_tensors(layer)
        for i, task in enumerate(TASKS):
            condition = projected(
                state,
                state[f'streams.{task}'],
                state[f'blocks.{blocks.index(block)}'],
                state[f'positions.{positions.index(position)}'],
            )
            for part, shape in dict(
                down=(m, out), up=(out, m), down_bias=(m,), up_bias=(out,)
            ).items():
                expected = (state[f'generators.{out}x{m}.{part}'] @ condition).view(shape)
                torch.testing.assert_close(found[f'task_{part}'][i], expected)
    if 'Swin' in family:
        assert (len(blocks), len(positions)) == (8, 2)
    # one generator for each shape, an embedding for each task, block and position
    assert len(model.commons['0'].generators) == len(
        {(la.weight.shape[0], la.adapter.width) for la in model.adapter_layers().values()}
    )


def test_a_layer_with_generated_weights_is_a_bottleneck():
    model = backbone()
    stir(model, 0.3)
    name, layer = list(model.adapter_layers().items())[-1]
    x = torch.randn(3, layer.in_features)
    params = layer.adapter.lane_tensors(layer)
    for i in range(len(TASKS)):
        one = {k: v[i] for k, v in params.items()}
        h = F.linear(x, layer.weight, layer.bias)
        inner = F.gelu(F.linear(h, one['task_down'], one['task_down_bias']))
        expected = h + F.linear(inner, one['task_up'], one['task_up_bias'])
        torch.testing.assert_close(layer.adapter.lane(layer, x, one, None), expected)


def test_a_generator_for_each_layer_needs_the_task_alone():
    model = backbone(generators='layer')
    common = model.commons['0']
    assert not len(common.blocks) and not len(common.positions)
    assert len(common.generators) == len(model.adapted)
    stir(model, 0.3)
    state = common.state_dict()
    layer = model.adapter_layers()[model.adapted[3]]
    expected = state['generators.site3.down'] @ projected(state, state['streams.depth'])
    found = layer.adapter.generated(['depth'])['down'][0]
    torch.testing.assert_close(found.flatten(), expected)


@pytest.mark.parametrize('generators', ['width', 'layer'])
def test_all_is_trained_and_the_base_is_not(generators):
    model = backbone(generators=generators).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    frozen = model.frozen_state_keys()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        levels = model(torch.randn(2, 3, 64, 64))
        losses = [x.square().mean() * (1 + i) for i, t in enumerate(TASKS) for x in levels[t]]
        sum(losses).backward()
        optimizer.step()
    after = model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in frozen)
    # at the start up is 0, so embeddings and the other parts move from the second step on
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert trained and all(n.startswith('commons.0.') for n in trained)
    assert all(model.get_parameter(n).grad.any() for n in trained)
    assert model.unused_parameter_names() == []
    assert 'commons.0.streams.shared' not in after


def test_the_start_of_down_has_the_variance_of_a_bottleneck_adapter():
    torch.manual_seed(0)
    cfg = dict(type='HyperFormer', width=64, embedding=64)
    layer = adapt_layer(nn.Linear(8, 400), cfg)
    down = layer.adapter.generated(['shared'])['down']
    plain = adapt_layer(nn.Linear(8, 400), dict(type='BottleneckAdapter', width=64))
    ratio = down.std() / plain.adapter.down.std()
    assert 0.9 < float(ratio) < 1.1
    assert not layer.adapter.generated(['shared'])['up'].any()


def test_with_lanes_in_stages_the_shared_stream_has_an_embedding():
    model = backbone(streams='stage').eval()
    assert 'commons.0.streams.shared' in model.state_dict()
    stir(model, 0.1)
    x = torch.randn(1, 3, 64, 64)
    levels = model(x)
    with torch.no_grad():
        model.commons['0'].streams['depth'].add_(1)
    changed = model(x)
    assert torch.equal(levels['semseg'][0], changed['semseg'][0])
    assert not torch.allclose(levels['depth'][0], changed['depth'][0])


def test_a_shared_stream_that_nobody_reads_is_unused():
    """All layers of the plugin lie in the last lane block."""
    model = backbone(streams='stage', targets=['re:layers.3.blocks.1.mlp.fc2'])
    stir(model, 0.1)
    levels = model(torch.randn(1, 3, 64, 64))
    sum(x.square().mean() for task in levels.values() for x in task).backward()
    without = [
        n for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]  # fmt: skip
    assert without == model.unused_parameter_names() == ['commons.0.streams.shared']


def test_tasks_load_in_any_order_and_a_missing_one_is_an_error():
    model = backbone().eval()
    stir(model, 0.1)
    other = backbone(tasks=TASKS[::-1]).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(other(x), model(x), rtol=1e-4, atol=1e-5)
    fewer = backbone(tasks=TASKS[:2])
    with pytest.raises(RuntimeError, match='Unexpected key.*streams.normals'):
        fewer.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match='Missing key.*streams.normals'):
        model.load_state_dict(fewer.state_dict())
    model.commons['0'].streams.pop('depth')
    with pytest.raises(KeyError, match="no embedding for 'depth'"):
        model(x)


def test_a_copy_generates_of_its_own_embeddings():
    model = backbone().eval()
    stir(model, 0.1)
    other = copy.deepcopy(model)
    x = torch.randn(1, 3, 64, 64)
    before = model(x)['depth'][0]
    with torch.no_grad():
        other.commons['0'].streams['depth'].add_(1)
    assert torch.equal(model(x)['depth'][0], before)
    assert not torch.allclose(other(x)['depth'][0], before)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(generators='widths'), ValueError, "Did you mean 'width'"),
        (dict(embedding=0), ValueError, 'embedding to be a positive integer, got 0'),
        (dict(hidden=2.5), ValueError, 'hidden to be a positive integer, got 2.5'),
        (dict(common=HyperNetwork(['a'])), KeyError, "no embedding for 'semseg'"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        adapt_layer(nn.Linear(4, 4), dict(type='HyperFormer', **options), TASKS)


def test_a_task_cannot_be_called_shared():
    with pytest.raises(ValueError, match="cannot be called 'shared'"):
        HyperNetwork(['shared'])
