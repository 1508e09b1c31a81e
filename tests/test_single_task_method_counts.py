"""Sine-LoRA, BitFit, Adapter, VPT and Compacter on PASCAL: each component by its own formula."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.models import decoder_components, parameter_components
from mtpeft.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
WIDTHS, DEPTHS, HEADS = (96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24)
CHANNELS = (21, 7, 1, 3)
BLOCKS = sum(width * depth for width, depth in zip(WIDTHS, DEPTHS, strict=True))

pytestmark = pytest.mark.usefixtures('structure_only')


def count(config):
    cfg = Config.fromfile(CONFIGS / f'{config}_swin-t_pascal.py')
    init_default_scope(cfg.default_scope)
    return parameter_components(MODELS.build(cfg.model))


def decoder():
    """Projections of the four levels, and HRNet heads."""
    levels = {192: 18, 384: 36, 768: 72 + 144}  # two levels of width 768
    concatenated = sum(levels.values())
    hidden = 4 * concatenated
    head = concatenated * hidden + hidden + 2 * hidden
    return dict(
        projections=sum(a * b for a, b in levels.items()) * len(CHANNELS),
        heads=head * len(CHANNELS) + sum((hidden + 1) * c for c in CHANNELS),
    )


def also_trained():
    """What the model's base file trains beside adapters."""
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        norms=4 * BLOCKS + sum(2 * 4 * width for width in WIDTHS[:-1]) + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip(HEADS, DEPTHS, strict=True)),
    )


def behind_layers(per_layer, layers):
    """Numbers of adapters on ``layers`` layers a block, of a layer with so many outputs."""
    return layers * sum(d * per_layer(w) for w, d in zip(WIDTHS, DEPTHS, strict=True))


EXPECTED = {
    # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C: 4 + 2 + 5 + 5 widths a rank
    'sine-lora/sine-lora': dict(also_trained(), lora_shared=16 * BLOCKS * 16),
    'bitfit/bitfit': dict(
        patch_embed=96,
        norms=2 * BLOCKS + sum(4 * width for width in WIDTHS[:-1]) + 96,
        biases=(3 + 1 + 4 + 1) * BLOCKS,  # qkv, proj, fc1, fc2; the merging has none
    ),
    'adapter/adapter': dict(
        also_trained(),
        adapter_shared=behind_layers(lambda w: 2 * w * (w // 8) + w // 8 + w, layers=2),
    ),
    'vpt/vpt-shallow': dict(prompts=50 * 96),
    'vpt/vpt-deep': dict(prompts=50 * BLOCKS),
    # s and t of rank 1 of two weights, and two biases
    'compacter/compacter': dict(
        also_trained(),
        adapter_shared=behind_layers(lambda w: 3 * (w + w // 8), layers=2),
        phm_rule=4**3,
    ),
    'compacter/compacter-plus-plus': dict(
        also_trained(),
        adapter_shared=behind_layers(lambda w: 3 * (w + w // 8), layers=1),
        phm_rule=4**3,
    ),
}


@pytest.mark.parametrize('config', EXPECTED)
def test_every_component_follows_its_formula(config):
    components = count(config)
    assert components == {**EXPECTED[config], **decoder()}
    assert sum(components[name] for name in decoder_components if name in components) == 1_946_624


def test_sine_lora_has_the_parameters_of_lora():
    assert count('sine-lora/sine-lora') == count('lora/lora')


@pytest.mark.parametrize('config', EXPECTED)
def test_the_pages_print_the_totals(config):
    page = CONFIGS.parent / f'docs/methods/{config.split("/")[0].replace("-", "_")}.md'
    text = page.read_text(encoding='utf-8')
    for number in EXPECTED[config].values():
        assert f'{number:,}' in text
    assert f'{sum({**EXPECTED[config], **decoder()}.values()):,}' in text
