"""Trainable parameters of VL-Adapter, HyperFormer and Polyhistor, by their own formulas."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.models import decoder_components, parameter_components
from mtpeft.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
WIDTHS, DEPTHS = (96, 192, 384, 768), (2, 2, 6, 2)
#: widths of the adapted layers: proj and fc2 of each block
SITES = [width for width, depth in zip(WIDTHS, DEPTHS, strict=True) for _ in range(2 * depth)]
#: what all of them train beside adapters
REST = dict(patch_embed=4_704, norms=23_232, relative_position=23_322)
E, HIDDEN, RANK = 64, 128, 5

pytestmark = pytest.mark.usefixtures('structure_only')


def count(config):
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    init_default_scope(cfg.default_scope)
    components = parameter_components(MODELS.build(cfg.model))
    decoder = sum(components.pop(name) for name in decoder_components if name in components)
    assert {name: components.pop(name) for name in REST} == REST
    return components, decoder


def projector(inputs):
    """Two linear layers with biases and a LayerNorm."""
    return (inputs * E + 1) * HIDDEN + (HIDDEN + 1) * E + 2 * E


def adapter(d):
    m = d // 8
    return dict(down=m * d + m, up=d * m + d)


@pytest.mark.parametrize(('data', 'tasks'), [('pascal', 4), ('nyud', 3)])
def test_vl_adapter(data, tasks):
    down, up = (sum(adapter(d)[half] for d in SITES) for half in ('down', 'up'))
    components, _ = count(f'vl-adapter/vl-adapter_swin-t_{data}')
    assert components == dict(adapter_shared=down + up)
    components, _ = count(f'vl-adapter/vl-adapter-half_swin-t_{data}')
    assert components == dict(adapter_base=down, adapter_task=tasks * up)


@pytest.mark.parametrize(('data', 'tasks'), [('pascal', 4), ('nyud', 3)])
def test_hyperformer(data, tasks):
    components, _ = count(f'hyperformer/hyperformer_swin-t_{data}')
    generators = sum(sum(adapter(d).values()) for d in WIDTHS) * E
    assert components == dict(
        embeddings=(tasks + sum(DEPTHS) + 2) * E, hypernetwork=projector(3) + generators
    )


def test_hyperformer_with_a_generator_for_each_layer():
    components, decoder = count('hyperformer/hyperformer-layer_swin-t_pascal')
    generators = sum(sum(adapter(d).values()) for d in SITES) * E
    assert components == dict(embeddings=4 * E, hypernetwork=projector(1) + generators)
    total = sum(components.values()) + decoder + sum(REST.values())
    assert total == 71_660_154
    # what a generated layer norm would add: a scale and a shift for each channel
    assert 2 * sum(SITES) * E == 1_130_496


@pytest.mark.parametrize(('data', 'tasks'), [('pascal', 4), ('nyud', 3)])
def test_polyhistor(data, tasks):
    components, decoder = count(f'polyhistor/polyhistor_swin-t_{data}')
    generators = sum(2 * RANK * (d + d // 8) for d in SITES) * E
    assert components == dict(embeddings=tasks * E, hypernetwork=projector(1) + generators)
    if data == 'pascal':
        assert sum(components.values()) + decoder + sum(REST.values()) == 8_373_882

    components, _ = count(f'polyhistor/polyhistor-lite_swin-t_{data}')
    assert components == dict(
        embeddings=tasks * E,
        hypernetwork=projector(1) + 2 * RANK * (96 + 12) * E,
        # down and up of each layer, (d / 96) x (d / 96) both
        scaling_kernels=2 * sum((d // 96) ** 2 for d in SITES),
    )
