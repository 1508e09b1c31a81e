"""TADFormer's trainable parameters, each component by its own formula."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.models import decoder_components, parameter_components
from mtpeft.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs/tadformer'
WIDTHS, DEPTHS, HEADS = (96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24)
PASCAL, NYUD = (21, 7, 1, 3), (40, 1, 3)

pytestmark = pytest.mark.usefixtures('structure_only')


def count(config, filter='dynamic', **backbone):
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(backbone)
    for plugin in cfg.model.backbone.plugins.values():
        plugin.cfg.filter = filter
    return parameter_components(MODELS.build(cfg.model))


def expected(rank, channels):
    """Parameters on Swin-T with tasks that predict so many ``channels``, by component."""
    tasks = len(channels)
    blocks = sum(width * depth for width, depth in zip(WIDTHS, DEPTHS, strict=True))
    levels = {192: 18, 384: 36, 768: 72 + 144}  # two levels of width 768
    concatenated = sum(levels.values())
    hidden = 4 * concatenated
    return dict(
        patch_embed=96 * 3 * 4 * 4 + 96,
        norms=4 * blocks + sum(2 * 4 * width for width in WIDTHS[:-1]) + 2 * 96,
        relative_position=13 * 13 * sum(h * d for h, d in zip(HEADS, DEPTHS, strict=True)),
        # qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C, in all blocks
        lora_shared=16 * blocks * rank,
        # r -> 9r with bias, std and mean; three layers in the last block of each of four stages
        task_filter=12 * (9 * rank * rank + 3 * 9 * rank),
        task_prompts=tasks * 96 + 4,
        prompt_projection=sum(2 * width * width for width in WIDTHS[:-1]),
        prompt_norms=2 * sum(WIDTHS),
        unused=2 * sum(w * (d - 1) for w, d in zip(WIDTHS, DEPTHS, strict=True)),
        projections=sum(a * b for a, b in levels.items()) * tasks,
        heads=hidden * (concatenated + 3) * tasks + sum((hidden + 1) * c for c in channels),
    )


@pytest.mark.parametrize(
    ('rank', 'total', 'printed'),
    [(64, 7_379_262, '7.38'), (32, 4_776_126, '4.776'), (16, 3_557_502, '3.558')],
)
def test_every_component_follows_its_formula(rank, total, printed):
    components = count(f'tadformer-r{rank}_swin-t_pascal')
    assert components == expected(rank, PASCAL)
    assert sum(components.values()) == total
    digits = len(printed.split('.')[1])
    assert f'{total / 1e6:.{digits}f}' == printed
    if rank == 64:  # as confirmed, by component
        assert components['lora_shared'] == 4_521_984
        assert components['task_filter'] == 463_104
        assert components['prompt_projection'] == 387_072
        assert components['prompt_norms'] + components['unused'] == 8_832
        assert components['unused'] == 5_952
        assert components['task_prompts'] == 388
        assert components['norms'] == 23_232
        assert components['relative_position'] == 23_322
        assert components['patch_embed'] == 4_704
        assert sum(components.get(name, 0) for name in decoder_components) == 1_946_624


def test_three_tasks_of_nyud():
    assert count('tadformer-r64_swin-t_nyud') == expected(64, NYUD)


def test_options_change_their_own_component_only():
    full = expected(64, PASCAL)
    # the released code: a depthwise 3 x 3 convolution with bias for each task
    static = count('tadformer-r64_swin-t_pascal', filter='static')
    assert static == {**full, 'task_filter': 12 * 4 * 64 * (9 + 1)}
    assert sum(static.values()) == 6_946_878
    none = count('tadformer-r64_swin-t_pascal', filter='none')
    assert none == {k: v for k, v in full.items() if k != 'task_filter'}
    two = count('tadformer-r64_swin-t_pascal', prompts_per_task=2)
    assert two == {**full, 'task_prompts': 2 * 4 * 96 + 4}
    # without the gate no prompt norm is read
    free = count('tadformer-r64_swin-t_pascal', prompt_gate=False)
    expected_free = {k: v for k, v in full.items() if k != 'prompt_norms'}
    assert free == {**expected_free, 'unused': 8_832}
    # patch embedding frozen, as in a public completion of the release
    frozen = count(
        'tadformer-r64_swin-t_pascal',
        train_also=['block_norms', 'relative_position_bias_table'],
    )
    assert sum(frozen.values()) == 7_374_558
