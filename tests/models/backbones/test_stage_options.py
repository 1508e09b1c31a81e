"""A list with a value a stage has as many values as there are stages."""

import pytest
import torch
from helpers.engine import ROOT
from mmengine.config import Config

from mtpeft.apis.preflight import check_config
from mtpeft.models.backbones.networks import build_network
from mtpeft.utils.fits import ConfigError

FOUR = dict(depths=(1, 1, 1, 1))


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('swin_tiny_patch4_window7_224', dict(num_heads=(1, 2, 4, 8, 8)), 'num_heads: expected 4'),
        ('swin_tiny_patch4_window7_224', dict(num_heads=(1, 2, 4)), 'num_heads: expected 4'),
        ('swinv2_tiny_window8_256', dict(num_heads=[1, 2, 4, 8, 8]), 'num_heads: expected 4'),
        ('convnext_atto', dict(dims=(8, 8, 8, 8, 8)), r'dims: .*\(depths\), got 5'),
        ('pvt_v2_b0', dict(num_heads=(1, 1, 1, 1, 1)), 'num_heads: expected 4'),
        ('swin_tiny_patch4_window7_224', dict(depths=(1, 1, 1), num_heads=(1, 2, 4, 8)),
         r'num_heads: expected 3 values, one a stage \(depths\), got 4'),
    ],
)  # fmt: skip
def test_a_value_too_many_or_too_few(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_network(dict(type=f'timm.{name}', **{**FOUR, **options}))


def test_what_fits_is_built():
    with torch.device('meta'):
        for name, options in (
            ('swin_tiny_patch4_window7_224', dict(depths=(1, 1), num_heads=(1, 2))),
            ('swin_tiny_patch4_window7_224', dict(embed_dim=8, num_heads=[1, 1, 2, 2])),
            ('resnet18', dict(layers=(1, 1, 1, 1))),
            ('efficientnet_lite0', {}),
            ('vit_tiny_patch16_224', dict(img_size=(32, 64))),
        ):
            build_network(dict(type=f'timm.{name}', **options))


def test_the_preflight_gives_the_place():
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora_swin-pico_scenes.py')
    cfg.model.backbone.backbone.num_heads = (1, 2, 4, 8, 8)
    with pytest.raises(ConfigError, match=r'model\.backbone\.backbone\.num_heads: expected 4'):
        check_config(cfg)
