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
    for plugin in cfg.model.backbone.plugins.values() if rank else ():
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
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        # two a block; of 4C in each patch merging; of the patch embedding
        norms=4 * blocks + sum(2 * 4 * width for width in WIDTHS[:-1]) + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip(HEADS, DEPTHS, strict=True)),
        # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C: 4 + 2 + 5 + 5 widths a rank
        lora_shared=16 * blocks * rank,
        # A and B, C wide, and W of 3 x 3, beside the last block of each of the four stages
        sine_base=sum(2 * width + 9 for width in WIDTHS) * rank,
        task_tokens=tasks * 96 + sum(2 * width * width for width in WIDTHS[:-1]),
        clock_net=96 + 2,  # W_q, s, c
        projections=sum(a * b for a, b in levels.items()) * tasks,
        shared_base=concatenated * hidden + 1,  # and the share of the low-pass
        # bias and BatchNorm, then the last convolution
        heads=3 * hidden * tasks + sum((hidden + 1) * c for c in channels),
    )


@pytest.mark.parametrize('rank', [16, 32, 64])
@pytest.mark.parametrize(('data', 'channels'), [('pascal', PASCAL), ('nyud', NYUD)])
def test_every_component_follows_its_formula(data, channels, rank):
    components = count(f'sinewich/sinewich-r{rank}_swin-t_{data}')
    assert components == expected(rank, channels)
    # the same as numbers
    assert components['lora_shared'] == 70_656 * rank
    assert components['sine_base'] == 2_880 * rank + 36 * rank
    assert components['norms'] == 23_232
    assert components['relative_position'] == 23_322
    assert components['patch_embed'] == 4_704
    assert components['task_tokens'] == 96 * len(channels) + 387_072
    assert components['clock_net'] == 98
    if data == 'pascal':
        assert decoder(components) == 1_071_825
        assert sum(components.values()) == 1_510_637 + 73_572 * rank


@pytest.mark.parametrize(
    ('config', 'trainable', 'in_decoder'),
    [
        (FULL, 6_219_245, 1_071_825),
        ('sinewich/sinewich-r32_swin-t_pascal', 3_864_941, 1_071_825),
        ('sinewich/sinewich-r16_swin-t_pascal', 2_687_789, 1_071_825),
        ('sinewich/sinewich-no-lcn_swin-t_pascal', 6_219_151, 1_071_825),
        ('sinewich/sinewich-no-lowpass_swin-t_pascal', 6_219_244, 1_071_824),
        ('sinewich/sinewich-no-sine_swin-t_pascal', 6_219_245, 1_071_825),
        ('sinewich/sinewich-independent-base_swin-t_pascal', 6_779_117, 1_071_825),
        ('sinewich/sinewich-independent-decoder_swin-t_pascal', 7_094_044, 1_946_624),
        ('sinewich/sinewich-pointwise_swin-t_pascal', 6_493_677, 1_071_825),
        # with a spectral decoder, 69,104 a task
        ('union/union_swin-t_pascal', 6_219_245 + 4 * 69_104, 1_071_825),
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
    assert count(f'sinewich/sinewich-no-sine_{backbone}') == full
    # without the share of the heads' low-pass, which is learnt
    matrix = full['shared_base'] - 1
    for name in ('no-lowpass', 'no-decoder-lowpass', 'decoder-lowpass'):
        found = count(f'sinewich/sinewich-{name}_{backbone}')
        assert found == {**full, 'shared_base': matrix}
    heads = count(f'sinewich/sinewich-independent-decoder_{backbone}')
    # as wide as those of the other methods: the difference is one base instead of one a task
    assert decoder(heads) - decoder(full) == (tasks - 1) * matrix - 1
    assert decoder(heads) == decoder(count(f'mtlora/mtlora_{backbone}'))


# -- designs against the printed totals ------------------------------------------------------------

#: place of the base (width in, width out, in units of C) a last block, k, factor that is reused
DESIGNS = {
    'beside the block, 3 x 3': ([(1, 1)], 3, None),
    'beside the block, 5 x 5': ([(1, 1)], 5, None),
    'fc2, pointwise': ([(4, 1)], 1, None),
    'fc2, 3 x 3': ([(4, 1)], 3, None),
    'fc1 and fc2, 3 x 3': ([(1, 4), (4, 1)], 3, None),
    'fc1 and fc2, 5 x 5, A reused': ([(1, 4), (4, 1)], 5, 'A'),
    'fc1 and fc2, 5 x 5, A and B reused': ([(1, 4), (4, 1)], 5, 'both'),
}


def total_of(design, rank=64, lcn=True, base='shared', decoder='shared'):
    """Parameters of a design on PASCAL-Context, with a Clock Net at each layer, in the base too."""
    places, k, reuse = DESIGNS[design]
    rest = expected(rank, PASCAL)
    for name in ('sine_base', 'clock_net'):
        del rest[name]
    if decoder == 'independent':
        rest['shared_base'] = (rest['shared_base'] - 1) * len(PASCAL)
    kernels = len(places) * len(WIDTHS) * rank * k * k
    pair = sum(WIDTHS) * rank * sum(i + o for i, o in places)
    own = dict(A=sum(o for _, o in places), both=0).get(reuse, sum(map(sum, places)))
    bases = sum(WIDTHS) * rank * own + kernels
    if base == 'independent':
        # a pair for each task; what the shared LoRA lends stays where it is
        bases = len(PASCAL) * (pair + kernels)
    sites = len(places) * len(WIDTHS) + 1
    clocks = sites * (WIDTHS[0] + 2 if lcn else len(PASCAL))
    return sum(rest.values()) + bases + clocks


def row(design):
    totals = (
        total_of(design), total_of(design, 32), total_of(design, lcn=False),
        total_of(design, base='independent'), total_of(design, decoder='independent'),
    )  # fmt: skip
    return [f'{total / 1e6:.3f}' for total in totals]


@pytest.mark.parametrize('design', list(DESIGNS))
def test_the_table_of_designs(design):
    page = (CONFIGS.parent / 'docs' / 'methods' / 'sinewich.md').read_text()
    lines = [line.strip('| ').split(' | ') for line in page.splitlines()]
    assert [line[1:] for line in lines if line[0] == design] == [row(design)]


@pytest.mark.parametrize('design', ['beside the block, 3 x 3', 'fc1 and fc2, 5 x 5, A reused',
                                    'fc1 and fc2, 3 x 3'])  # fmt: skip
def test_the_formula_of_designs_counts_what_is_built(design):
    places, k, reuse = DESIGNS[design]
    cfg = Config.fromfile(CONFIGS / f'{FULL}.py').model
    shared, lanes = cfg.backbone.plugins.values()
    if len(places) == 2:
        shared.targets, lanes.targets = ['qkv', 'proj'], ['fc1', 'fc2']
    lanes.cfg.update(kernel_size=k, reuse=reuse, limit=2000)
    cfg.backbone.clock.per = 'layer'
    init_default_scope('mtpeft')
    components = parameter_components(MODELS.build(cfg))
    assert sum(components.values()) == total_of(design)
