"""Configs of rank allocators: the hook fits the run, and counts are those of the pages."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.adapters import rank_pattern
from mtpeft.hooks import RankAllocatorHook
from mtpeft.models import parameter_components
from mtpeft.registry import HOOKS, MODELS

ROOT = Path(__file__).parents[1]
METHODS = ('adalora', 'dylora', 'autolora')
PATHS = sorted(
    str(path.relative_to(ROOT)) for m in METHODS for path in (ROOT / 'configs' / m).glob('*.py')
)


def build(path):
    cfg = Config.fromfile(ROOT / path)
    init_default_scope(cfg.default_scope)
    return cfg, MODELS.build(cfg.model)


@pytest.mark.parametrize('path', PATHS)
def test_the_hook_fits_the_model(path):
    cfg, model = build(path)
    hook = HOOKS.build(cfg.default_hooks.ranks)
    assert isinstance(hook, RankAllocatorHook)
    ranks = [rank for streams in rank_pattern(model).values() for rank in streams.values()]
    assert ranks
    if path.startswith('configs/adalora'):
        assert hook.min_rank <= hook.target_rank < sum(ranks) / len(ranks)
        assert 0 < hook.t_initial + hook.t_final < 1


def test_there_is_a_config_for_each_setting():
    settings = 'swin-t_pascal', 'swin-t_nyud', 'swin-pico_scenes', 'efficientnet-lite2_nyud'
    wanted = {f'configs/{m}/{m}_{s}.py' for m in METHODS for s in settings}
    assert set(PATHS) - wanted == {'configs/adalora/adalora-mtlora_swin-pico_scenes.py'}
    assert wanted <= set(PATHS)


@pytest.mark.parametrize(('method', 'rank', 'more'), [
    ('adalora', 24, 1), ('dylora', 16, 0), ('autolora', 16, 0),
])  # fmt: skip
def test_counts_follow_the_formula(method, rank, more):
    """qkv C -> 3C, proj C -> C, fc1 C -> 4C, fc2 4C -> C in every block; a number a triplet."""
    _, model = build(f'configs/{method}/{method}_swin-t_pascal.py')
    blocks = {96: 2, 192: 2, 384: 6, 768: 2}
    layers = sum(
        count * sum(a + b + more for a, b in ((1 * w, 3 * w), (w, w), (w, 4 * w), (4 * w, w)))
        for w, count in blocks.items()
    )
    assert parameter_components(model)['lora_shared'] == layers * rank
