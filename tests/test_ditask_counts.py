"""DiTASK's trainable parameters, each component by its own formula."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.adapters.plugins import plugin_items
from mtpeft.models import decoder_components, parameter_components
from mtpeft.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
WIDTHS, DEPTHS, HEADS = (96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24)
PASCAL, NYUD = (21, 7, 1, 3), (40, 1, 3)

pytestmark = pytest.mark.usefixtures('structure_only')


def count(name, **options):
    cfg = Config.fromfile(CONFIGS / f'ditask/{name}.py')
    init_default_scope(cfg.default_scope)
    for plugin in plugin_items(cfg.model.backbone.plugins).values():
        plugin.cfg.update(options)
    return parameter_components(MODELS.build(cfg.model))


def expected(channels, cells=64, task_cells=4):
    """Parameters on Swin-T with tasks that predict so many ``channels``, by component."""
    tasks, blocks = len(channels), sum(DEPTHS)
    levels = {192: 18, 384: 36, 768: 72 + 144}  # two levels of width 768
    concatenated = sum(levels.values())
    hidden = 4 * concatenated
    # proj, fc1 and fc2 of the very last block: no task reads the shared stream behind them
    unused = 3 * (cells - 1)
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        norms=4 * sum(w * d for w, d in zip(WIDTHS, DEPTHS, strict=True))
        + sum(2 * 4 * width for width in WIDTHS[:-1])
        + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip(HEADS, DEPTHS, strict=True)),
        patch_merging=sum(4 * width * 2 * width for width in WIDTHS[:-1]),
        # qkv, proj, fc1, fc2 of every block; proj, fc1, fc2 of each stage's last block
        theta_shared=4 * blocks * (cells - 1) - unused,
        theta_task=3 * 4 * tasks * (task_cells - 1),
        unused=unused,
        projections=sum(a * b for a, b in levels.items()) * tasks,
        heads=(concatenated * hidden + 3 * hidden) * tasks
        + sum((hidden + 1) * c for c in channels),
    )


def without_decoder(components):
    return sum(n for name, n in components.items() if name not in decoder_components)


@pytest.mark.parametrize('name', ['ditask', 'ditask-value'])
@pytest.mark.parametrize(('data', 'channels'), [('pascal', PASCAL), ('nyud', NYUD)])
def test_every_component_follows_its_formula(name, data, channels):
    components = count(f'{name}_swin-t_{data}')
    assert components == expected(channels)
    # the same as numbers
    assert components['theta_shared'] + components['unused'] == 3_024
    assert components['theta_task'] == 36 * len(channels)
    assert components['patch_merging'] == 1_548_288
    assert without_decoder(components) == 1_602_570 + 36 * len(channels)
    if data == 'pascal':
        # printed (arXiv 2502.06029): 1.61 M
        assert without_decoder(components) == 1_602_714
        assert sum(components.values()) == 3_549_338


@pytest.mark.parametrize('data', ['pascal', 'nyud'])
def test_shared_flows_alone(data):
    components = count(f'ditask-single_swin-t_{data}')
    full = expected(PASCAL if data == 'pascal' else NYUD)
    # every stream goes through all of them
    full['theta_shared'] += full.pop('unused')
    del full['theta_task']
    assert components == full
    assert without_decoder(components) == 1_599_546 + 3_024  # printed: 1.60 M


def test_cells_of_the_tasks_as_many_as_of_the_shared_stream():
    components = count('ditask_swin-t_pascal', task_cells=64)
    assert components == expected(PASCAL, task_cells=64)
    # the printed 1.61 M too
    assert without_decoder(components) == 1_602_570 + 48 * 63 == 1_605_594


def test_small_recipes_change_nothing_but_flows():
    for backbone in ('swin-pico_scenes', 'efficientnet-lite2_nyud'):
        ours = count(f'ditask_{backbone}')
        cfg = Config.fromfile(CONFIGS / f'mtlora/mtlora_{backbone}.py')
        theirs = parameter_components(MODELS.build(cfg.model))
        flows, factors = (
            {'theta_shared', 'theta_task', 'unused'},
            {'lora_shared', 'lora_task', 'unused'},
        )
        assert {k: n for k, n in ours.items() if k not in flows} == {
            k: n for k, n in theirs.items() if k not in factors
        }
