"""Free Sinewich's trainable parameters, each component by its own formula."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.models import decoder_components, parameter_components
from mtpeft.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
WIDTHS, DEPTHS, HEADS = (96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24)
PASCAL, NYUD = (21, 7, 1, 3), (40, 1, 3)
FULL = 'sinewich/sinewich-r64_swin-t_pascal'

pytestmark = pytest.mark.usefixtures('structure_only')


def count(config, rank=None):
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    init_default_scope(cfg.default_scope)
    for plugin in cfg.model.backbone.plugins if rank else ():
        plugin.cfg.rank = rank
    return parameter_components(MODELS.build(cfg.model))


def decoder(components):
    return sum(components.get(name, 0) for name in decoder_components)


def expected(rank, channels):
    """Parameters on Swin-T with tasks that predict so many ``channels``, by component."""
    tasks = len(channels)
    blocks = sum(width * depth for width, depth in zip(WIDTHS, DEPTHS, strict=True))
    levels = {192: 18, 384: 36, 768: 72 + 144}  # two levels of width 768
    concatenated = sum(levels.values())
    hidden = 4 * concatenated
    # fc2 of the very last block: no task reads the shared stream behind it
    unused = 5 * WIDTHS[-1] * rank
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        # two a block; of 4C in each patch merging; of the patch embedding
        norms=4 * blocks + sum(2 * 4 * width for width in WIDTHS[:-1]) + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip(HEADS, DEPTHS, strict=True)),
        # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C: 4 + 2 + 5 + 5 widths a rank
        lora_shared=16 * blocks * rank - unused,
        unused=unused,
        # A and B of fc2, and the diagonal W, in the last block of each of the four stages
        sine_base=sum(5 * width + 1 for width in WIDTHS) * rank,
        task_tokens=tasks * 96 + sum(2 * width * width for width in WIDTHS[:-1]),
        clock_net=96 + 2,  # W_q, s, c
        projections=sum(a * b for a, b in levels.items()) * tasks,
        shared_base=concatenated * hidden,
        # bias and BatchNorm, then the last convolution
        heads=3 * hidden * tasks + sum((hidden + 1) * c for c in channels),
    )


@pytest.mark.parametrize('rank', [16, 32, 64])
@pytest.mark.parametrize(('data', 'channels'), [('pascal', PASCAL), ('nyud', NYUD)])
def test_every_component_follows_its_formula(data, channels, rank):
    components = count(f'sinewich/sinewich-r{rank}_swin-t_{data}')
    assert components == expected(rank, channels)
    # the same as numbers
    assert components['lora_shared'] + components['unused'] == 70_656 * rank
    assert components['unused'] == 3_840 * rank
    assert components['sine_base'] == 7_200 * rank + 4 * rank
    assert components['norms'] == 23_232
    assert components['relative_position'] == 23_322
    assert components['patch_embed'] == 4_704
    assert components['task_tokens'] == 96 * len(channels) + 387_072
    assert components['clock_net'] == 98
    if data == 'pascal':
        assert decoder(components) == 1_071_824
        assert sum(components.values()) == 1_510_636 + 77_860 * rank


@pytest.mark.parametrize(
    ('config', 'trainable', 'in_decoder'),
    [
        (FULL, 6_493_676, 1_071_824),
        ('sinewich/sinewich-r32_swin-t_pascal', 4_002_156, 1_071_824),
        ('sinewich/sinewich-r16_swin-t_pascal', 2_756_396, 1_071_824),
        ('sinewich/sinewich-no-lcn_swin-t_pascal', 6_493_582, 1_071_824),
        ('sinewich/sinewich-no-lowpass_swin-t_pascal', 6_493_676, 1_071_824),
        ('sinewich/sinewich-no-sine_swin-t_pascal', 6_493_676, 1_071_824),
        ('sinewich/sinewich-independent-base_swin-t_pascal', 7_876_844, 1_071_824),
        ('sinewich/sinewich-independent-decoder_swin-t_pascal', 7_368_476, 1_946_624),
        # with a spectral decoder, 4,880 a task
        ('union/union_swin-t_pascal', 6_493_676 + 4 * 69_104, 1_071_824),
    ],
)
def test_counts_of_the_configs(config, trainable, in_decoder):
    components = count(config)
    assert sum(components.values()) == trainable
    assert decoder(components) == in_decoder


def test_an_ablation_changes_its_own_component_only():
    full = expected(64, PASCAL)
    bases = count('sinewich/sinewich-independent-base_swin-t_pascal')
    assert bases == {**full, 'sine_base': 4 * full['sine_base']}
    free = count('sinewich/sinewich-no-lcn_swin-t_pascal')
    assert free == {**full, 'clock_net': 4}  # a frequency a task
    heads = count('sinewich/sinewich-independent-decoder_swin-t_pascal')
    del full['shared_base']
    # the first convolution of the three other tasks too
    assert heads == {**full, 'heads': full['heads'] + 4 * 270 * 1080}


@pytest.mark.parametrize('backbone', ['efficientnet-lite2_nyud', 'swin-pico_scenes'])
def test_small_recipes_change_the_same(backbone):
    full = count(f'sinewich/sinewich_{backbone}')
    tasks = dict(nyud=3, scenes=6)[backbone.split('_')[1]]
    bases = count(f'sinewich/sinewich-independent-base_{backbone}')
    assert bases == {**full, 'sine_base': tasks * full['sine_base']}
    for name in ('no-lowpass', 'no-sine'):
        assert count(f'sinewich/sinewich-{name}_{backbone}') == full
    heads = count(f'sinewich/sinewich-independent-decoder_{backbone}')
    # as wide as those of the other methods: the difference is one base instead of one a task
    assert decoder(heads) - decoder(full) == (tasks - 1) * full['shared_base']
    assert decoder(heads) == decoder(count(f'mtlora/mtlora_{backbone}'))
