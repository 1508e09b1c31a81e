"""Weights of the released DiTASK layer give its features and outputs."""

import os
from pathlib import Path

import pytest
import torch
from helpers.ditask_tiny import MODEL, PLUGINS, TASKS
from helpers.engine import call_tool
from mmengine.config import Config
from safetensors.torch import load_file

from mtpeft.converters import ditask_to_mtpeft
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
STAGE0 = ROOT / 'tests/data/ditask_stage0.safetensors'
GOLDEN = Path(os.environ.get('MTPEFT_GOLDEN', ROOT / 'data/golden'))
NORM = 'backbone.network.norm.'  # a final norm, which no level passes
TOLERANCE = {torch.float64: 3e-6, torch.float32: 1e-4}  # the values are stored in single


def needs(name):
    return pytest.mark.skipif(
        not (GOLDEN / name).is_file(), reason=f'set MTPEFT_GOLDEN to the folder with {name}'
    )


def tokens(level):
    """Every fourth token of a level ``(1, C, H, W)``, as the golden files keep them."""
    return level.flatten(2).transpose(1, 2)[0, ::4].float()


def close(ours, theirs, dtype):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
def test_first_stage_equals_the_released_layer(dtype):
    data = load_file(STAGE0)
    weights = {k.removeprefix('weights/'): v for k, v in data.items() if k.startswith('weights/')}
    model = MODELS.build(MODEL).to(dtype).eval()
    model.init_weights()  # the file holds a part of the base only
    assert not model.load_state_dict(ditask_to_mtpeft(weights), strict=False).unexpected_keys
    with torch.no_grad():
        levels = model.backbone(data['image'].to(dtype))
    for task in TASKS:
        close(tokens(levels[task][0]), data[f'features/{task}'], dtype)


@pytest.fixture(scope='module')
def golden():
    return torch.load(GOLDEN / 'ditask_tiny.pt', weights_only=True)


@needs('ditask_tiny.pt')
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@pytest.mark.parametrize('strategy', ['vmap', 'fold', 'loop'])
def test_features_and_outputs_equal_the_released_layer(strategy, dtype, golden):
    model = MODELS.build({**MODEL, 'backbone': {**MODEL['backbone'], 'lane_strategy': strategy}})
    model.to(dtype)
    result = model.load_state_dict(ditask_to_mtpeft(golden['state_dict']), strict=False)
    assert not result.unexpected_keys
    assert all(key.startswith(NORM) for key in result.missing_keys)
    image = golden['image'].to(dtype)
    with torch.no_grad():
        levels, logits = model.eval().backbone(image), model(image)
    for task in TASKS:
        for ours, theirs in zip(levels[task], golden['stage_task_features'][task], strict=True):
            close(tokens(ours), theirs, dtype)
        close(logits[task][0, :, ::8, ::8].float(), golden['outputs'][task], dtype)


@needs('ditask_tiny.pt')
def test_shared_stream_equals_the_released_layer(golden):
    plugins = [{**plugin, 'lanes': 'shared'} for plugin in PLUGINS]
    cfg = {**MODEL['backbone'], 'plugins': plugins, 'tap': 'post_merge'}
    backbone = MODELS.build(cfg).double().eval()
    state = {
        key.removeprefix('backbone.'): value
        for key, value in ditask_to_mtpeft(golden['state_dict']).items()
        if key.startswith('backbone.') and '.task_theta.' not in key
    }
    assert not backbone.load_state_dict(state, strict=False).unexpected_keys
    with torch.no_grad():
        levels = backbone(golden['image'].double())
    for ours, theirs in zip(levels, golden['stage_shared_features'], strict=True):
        close(tokens(ours), theirs, torch.float64)


@needs('ditask_pascal_keys.txt')
def test_released_keys_and_shapes_fit_the_config(tmp_path):
    released = {}
    for line in (GOLDEN / 'ditask_pascal_keys.txt').read_text().splitlines():
        key, shape = line.split('\t')
        released[key] = torch.zeros([int(n) for n in shape.strip('()').split(',') if n.strip()])
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save({'model': released}, source)
    call_tool('tools/model_converters/ditask_to_mtpeft.py', source, target)
    state = torch.load(target, weights_only=True)['state_dict']
    model = MODELS.build(Config.fromfile(ROOT / 'configs/ditask/ditask_swin-t_pascal.py').model)
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(key.startswith(NORM) for key in result.missing_keys)


def test_flows_are_renamed_and_those_of_qkv_s_tasks_dropped():
    block, theta = 'backbone.layers.0.blocks.1', torch.zeros(1, 3)
    state = {
        f'{block}.attn.qkv.lora_shared_A': theta,
        f'{block}.attn.qkv.lora_tasks_A.sal': theta,
        f'{block}.attn.proj.lora_tasks_A.sal': theta,
    }
    assert set(ditask_to_mtpeft(state)) == {
        'backbone.network.layers.0.blocks.1.attn.qkv.adapter.theta',
        'backbone.network.layers.0.blocks.1.attn.proj.adapter.task_theta.sal',
    }


def test_another_model_is_refused():
    theta = torch.zeros(1, 3)
    key = 'backbone.layers.0.blocks.1.attn.qkv.lora_shared'
    for state in ({'layers.0.weight': theta}, {f'{key}_A': theta, f'{key}_B': theta}):
        with pytest.raises(ValueError, match='expected the state dict of a released DiTASK model'):
            ditask_to_mtpeft(state)
    with pytest.raises(ValueError, match="'other.weight' is of no known kind"):
        ditask_to_mtpeft({f'{key}_A': theta, 'other.weight': theta})
