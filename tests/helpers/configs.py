"""Models of the configs that come with mtpeft."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
#: a small one of every method
PICO = sorted(ROOT.glob('configs/*/*swin-pico*.py'))


def build(path, seed=0, **options):
    """The model of a config, its backbone's weights random; options as of --cfg-options."""
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.backbone.pretrained = False
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    torch.manual_seed(seed)
    return MODELS.build(cfg.model)
