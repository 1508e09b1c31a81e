"""Polyhistor and Polyhistor-Lite: every weight against a loop over layers and tasks."""

import pytest
import torch
import torch.nn.functional as F
from helpers.adapter_grid import stir
from helpers.backbones import MLP, TASKS, TINY, wake
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.models.backbones import AdapterBackbone

CFG = dict(type='Polyhistor', reduction=4, rank=2, embedding=5, hidden=16)


def backbone(family='timm Swin', tasks=TASKS, streams='network', **options):
    targets = ['proj', 'fc2'] if 'Swin' in family else MLP[family]
    plugins = [dict(cfg={**CFG, **options}, targets=targets, lanes='task')]
    model = AdapterBackbone(TINY[family], plugins=plugins, tasks=tasks, streams=streams)
    wake(model.network)
    return model


def projected(state, *embeddings):
    x = torch.cat(embeddings)
    x = F.relu(F.linear(x, state['projector.0.weight'], state['projector.0.bias']))
    x = F.linear(x, state['projector.2.weight'], state['projector.2.bias'])
    return F.layer_norm(x, x.shape, state['projector.3.weight'], state['projector.3.bias'])


def kron(a, b):
    """Kronecker product, entry by entry."""
    out = torch.zeros(a.shape[0] * b.shape[0], a.shape[1] * b.shape[1])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = a[i // b.shape[0], j // b.shape[1]] * b[i % b.shape[0], j % b.shape[1]]
    return out


def factors(state, key, condition, m, d):
    shapes = dict(down_p=(m, 2), down_q=(2, d), up_p=(d, 2), up_q=(2, m))
    parts = {
        n: (state[f'generators.{key}.{n}'] @ condition).view(shape) for n, shape in shapes.items()
    }
    return parts['down_p'] @ parts['down_q'], parts['up_p'] @ parts['up_q']


def test_weights_are_products_of_two_generated_matrices():
    model = backbone()
    stir(model, 0.3)
    state = model.commons['0'].state_dict()
    for site, layer in enumerate(model.adapter_layers().values()):
        d, m = layer.weight.shape[0], round(layer.weight.shape[0] / 4)
        found = layer.adapter.lane_tensors(layer)
        for i, task in enumerate(TASKS):
            condition = projected(state, state[f'streams.{task}'])
            down, up = factors(state, f'site{site}', condition, m, d)
            torch.testing.assert_close(found['task_down'][i], down)
            torch.testing.assert_close(found['task_up'][i], up)
            assert torch.linalg.matrix_rank(down) == 2


@pytest.mark.parametrize('family', ['timm Swin', 'timm EfficientNet'])
def test_lite_scales_one_template_up(family):
    model = backbone(family, lite=True)
    stir(model, 0.3)
    state = model.commons['0'].state_dict()
    layers = list(model.adapter_layers().values())
    d0 = layers[0].weight.shape[0]
    m0 = round(d0 / 4)
    assert list(model.commons['0'].generators) == ['template']
    some = range(len(layers)) if 'Swin' in family else (0, 3, 8)
    for site in some:
        layer = layers[site]
        d, m = layer.weight.shape[0], round(layer.weight.shape[0] / 4)
        found = layer.adapter.lane_tensors(layer)
        for i, task in enumerate(TASKS):
            condition = projected(state, state[f'streams.{task}'])
            down, up = factors(state, 'template', condition, m0, d0)
            expected = kron(state[f'kernels_down.{site}'], down)[:m, :d]
            torch.testing.assert_close(found['task_down'][i], expected)
            expected = kron(state[f'kernels_up.{site}'], up)[:d, :m]
            torch.testing.assert_close(found['task_up'][i], expected)
    if 'Swin' in family:
        # widths 8, 16, 32, 64 are the template's times 1, 2, 4, 8: nothing is cut
        sizes = [k.shape[0] for k in model.commons['0'].kernels_up]
        assert sorted(set(sizes)) == [1, 2, 4, 8]


def test_generators_for_widths_see_layer_and_position():
    model = backbone(generators='width')
    common = model.commons['0']
    assert len(common.generators) == 4 and (len(common.blocks), len(common.positions)) == (8, 2)
    stir(model, 0.3)
    layers = [la for la in model.adapter_layers().values() if la.weight.shape[0] == 8]
    downs = [la.adapter.generated(['depth'])['down'] for la in layers]
    assert len(layers) == 4
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(downs[i], downs[j])


@pytest.mark.parametrize('options', [{}, dict(lite=True), dict(generators='width')])
@pytest.mark.parametrize('streams', ['network', 'stage'])
def test_all_is_trained_and_the_base_is_not(options, streams):
    model = backbone(streams=streams, **options).train()
    stir(model, 0.1)
    frozen = model.frozen_state_keys()
    levels = model(torch.randn(2, 3, 64, 64))
    losses = [x.square().mean() * (1 + i) for i, t in enumerate(TASKS) for x in levels[t]]
    sum(losses).backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained and not trained & frozen
    assert {n for n in trained if model.get_parameter(n).grad.any()} == trained
    assert model.unused_parameter_names() == []


@pytest.mark.parametrize('lite', [False, True])
def test_the_start_of_down_has_the_variance_of_a_bottleneck_adapter(lite):
    torch.manual_seed(0)
    cfg = dict(type='Polyhistor', width=64, embedding=64, rank=8, lite=lite)
    stds = [
        adapt_layer(nn.Linear(8, 400), cfg).adapter.generated(['shared'])['down'].std()
        for _ in range(20)
    ]
    # without lite close to it, with lite times a number of variance 1
    mean_square = torch.stack(stds).square().mean()
    assert 0.3 < float(mean_square * 3 * 400) < 3
    up = adapt_layer(nn.Linear(8, 400), cfg).adapter.generated(['shared'])['up']
    assert up.shape == (1, 400, 64) and not up.any()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rank=0), 'rank to be a positive integer, got 0'),
        (dict(generators='layers'), "Did you mean 'layer'"),
        (dict(lite=True, generators='width'), 'Polyhistor-Lite has one template'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        adapt_layer(nn.Linear(4, 4), dict(type='Polyhistor', **options), TASKS)
