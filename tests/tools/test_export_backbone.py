"""A trained backbone, exported, is what another config names as pretrained."""

import os
from pathlib import Path

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import call_tool
from mmengine.config import Config

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
TOOL = 'tools/model_converters/export_backbone.py'
CONFIG = f"""
_base_ = '{ROOT}/configs/lora/lora_swin-pico_scenes.py'
model = dict(backbone=dict(backbone=dict(pretrained=False, embed_dim=8)))
"""


def test_exported_weights_equal_the_merged_trunk(tmp_path):
    (tmp_path / 'config.py').write_text(CONFIG)
    cfg = Config.fromfile(tmp_path / 'config.py')
    model = MODELS.build(cfg.model)
    stir(model, 0.1)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'model.pth')
    out = tmp_path / 'out' / 'trunk.safetensors'
    old = os.umask(0o022)
    call_tool(TOOL, tmp_path / 'config.py', tmp_path / 'model.pth', out)
    os.umask(old)
    assert out.stat().st_mode & 0o777 == 0o644
    plain = AdapterBackbone({**cfg.model.backbone.backbone, 'pretrained': str(out)})
    plain.init_weights()
    expected = model.backbone.merged_state_dict()
    for name, value in plain.network.state_dict().items():
        if not name.startswith(plain.family.unread):
            assert torch.equal(value, expected[name]), name


def test_a_file_that_is_there_is_kept(tmp_path):
    """Asked before the model is read, so that nothing is waited for."""
    out = tmp_path / 'trunk.safetensors'
    out.write_bytes(b'mine')
    with pytest.raises(SystemExit, match=f'{out} exists.*--force'):
        call_tool(TOOL, 'no.py', 'no.pth', out)
    assert out.read_bytes() == b'mine'
