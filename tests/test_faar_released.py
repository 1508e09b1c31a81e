"""configs/faar/faar-released_*: the network of the recipe as a whole."""

from pathlib import Path

import pytest
import torch
from helpers.adapter_grid import stir
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.models import parameter_components
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[1]


def config():
    cfg = Config.fromfile(ROOT / 'configs/faar/faar-released_swin-pico_scenes.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.backbone.pretrained = False
    return cfg


@pytest.fixture
def model():
    cfg = config()
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


@torch.no_grad()
def test_every_task_starts_with_the_features_of_the_frozen_backbone(model):
    cfg = config()
    del cfg.model.backbone.plugins
    plain = MODELS.build(cfg.model.backbone).eval()
    state = model.backbone.state_dict()
    plain.load_state_dict({k: v for k, v in state.items() if '.adapter.' not in k})
    x = torch.randn(1, 3, 64, 64)
    levels, expected = model.backbone(x), plain(x)
    assert list(levels) == list(model.tasks) and isinstance(expected, tuple)
    for task in levels:
        for one, other in zip(levels[task], expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_merged_predictions_are_those_of_the_trained_model(model):
    stir(model.backbone, 0.1)
    x = torch.randn(2, 3, 64, 64)
    before = model(x)
    model.merge_adapters()
    after = model(x)
    for task in before:
        torch.testing.assert_close(after[task], before[task], rtol=1e-4, atol=1e-4)


def test_levels_are_filtered_at_the_size_of_the_largest(model):
    seen = []
    model.necks[2].register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    model(torch.randn(1, 3, 64, 96))
    ((given, out),) = seen
    for task in model.tasks:
        shapes = [tuple(x.shape) for x in given[task]]
        assert shapes == [(1, width, 16, 24) for width in (12, 16, 24, 32)]
        assert [tuple(x.shape) for x in out[task]] == shapes


def test_counts(model):
    """Radial filters, and what the lanes read of the shared stream is not unused."""
    found, tasks, widths = parameter_components(model), 6, (12, 16, 24, 32)
    assert found['ts_pd'] == tasks * (18 * sum(widths) + 5 * len(widths))
    # of the very last block only fc2's shared path, 4C -> C, is read by nobody
    assert found['unused'] == 5 * 160 * 16 + 160
