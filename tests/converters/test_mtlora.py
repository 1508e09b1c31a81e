"""Released MTLoRA weights give the released code's features and outputs."""

import os
from pathlib import Path

import pytest
import torch
from helpers.engine import call_tool
from helpers.mtlora_tiny import MODEL, TASKS
from safetensors.torch import load_file

from mtpeft.converters import mtlora_to_mtpeft
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
STAGE0 = ROOT / 'tests/data/mtlora_stage0.safetensors'
GOLDEN = Path(os.environ.get('MTPEFT_GOLDEN', ROOT / 'data/golden'))
needs_golden = pytest.mark.skipif(
    not (GOLDEN / 'mtlora_tiny.pt').is_file(),
    reason='set MTPEFT_GOLDEN to the folder with mtlora_tiny.pt (6 MB, not in the repository)',
)


def tokens(level):
    """Every fourth token of a level ``(1, C, H, W)``, as the golden files keep them."""
    return level.flatten(2).transpose(1, 2)[0, ::4]


def test_first_stage_equals_the_released_code():
    data = load_file(STAGE0)
    weights = {k.removeprefix('weights/'): v for k, v in data.items() if k.startswith('weights/')}
    model = MODELS.build(MODEL).eval()
    state = mtlora_to_mtpeft(weights)
    model.init_weights()  # the file holds a part of the base only
    unexpected = model.load_state_dict(state, strict=False).unexpected_keys
    assert not unexpected
    with torch.no_grad():
        levels = model.backbone(data['image'].float())
    for task in TASKS:
        torch.testing.assert_close(
            tokens(levels[task][0]), data[f'features/{task}'], rtol=0, atol=1e-5
        )


@needs_golden
@pytest.mark.parametrize('strategy', ['vmap', 'fold', 'loop'])
def test_features_and_outputs_equal_the_released_code(strategy):
    golden = torch.load(GOLDEN / 'mtlora_tiny.pt', weights_only=True)
    model = MODELS.build({**MODEL, 'backbone': {**MODEL['backbone'], 'lane_strategy': strategy}})
    result = model.load_state_dict(mtlora_to_mtpeft(golden['state_dict']), strict=False)
    assert not result.unexpected_keys
    assert all(k.startswith('backbone.network.norm.') for k in result.missing_keys)
    image = golden['image'].float()
    with torch.no_grad():
        levels, logits = model.eval().backbone(image), model(image)
    for task in TASKS:
        for ours, theirs in zip(levels[task], golden['stage_task_features'][task], strict=True):
            torch.testing.assert_close(tokens(ours), theirs, rtol=0, atol=1e-5)
        ours = logits[task][0, :, ::8, ::8]
        torch.testing.assert_close(ours, golden['outputs'][task], rtol=0, atol=1e-5)


@pytest.mark.skipif(
    not (GOLDEN / 'mtlora_r64_pascal_keys.txt').is_file(),
    reason='set MTPEFT_GOLDEN to the folder with mtlora_r64_pascal_keys.txt',
)
def test_released_keys_and_shapes_fit_the_config(tmp_path):
    from mmengine.config import Config

    lines = (GOLDEN / 'mtlora_r64_pascal_keys.txt').read_text().splitlines()
    released = {}
    for line in lines:
        key, shape = line.split('\t')
        released[key] = torch.zeros([int(n) for n in shape.strip('()').split(',') if n.strip()])
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save({'model': released}, source)
    call_tool('tools/model_converters/mtlora_to_mtpeft.py', source, target)
    state = torch.load(target, weights_only=True)['state_dict']
    model = MODELS.build(Config.fromfile(ROOT / 'configs/mtlora/mtlora-r64_swin-t_pascal.py').model)
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(k.startswith('backbone.network.norm.') for k in result.missing_keys)


def test_another_model_is_refused():
    with pytest.raises(ValueError, match='expected the state dict of a released MTLoRA model'):
        mtlora_to_mtpeft({'layers.0.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match="'other.weight' is of no known kind"):
        keys = ['downsampler.sal.downsample_0.weight', 'other.weight']
        mtlora_to_mtpeft(dict.fromkeys(keys, torch.zeros(1)))


def test_tool_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises((SystemExit, FileNotFoundError), match='none.pth'):
        call_tool(
            'tools/model_converters/mtlora_to_mtpeft.py', tmp_path / 'none.pth', tmp_path / 'o'
        )
