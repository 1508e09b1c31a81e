"""Weights of the TADFormer code give its features, prompts and outputs."""

import os
from pathlib import Path

import pytest
import torch
from helpers.engine import call_tool
from helpers.tadformer_tiny import MODEL, TASKS
from mmengine.config import Config
from safetensors.torch import load_file

from mtpeft.converters import tadformer_to_mtpeft
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
STAGE0 = ROOT / 'tests/data/tadformer_stage0.safetensors'
GOLDEN = Path(os.environ.get('MTPEFT_GOLDEN', ROOT / 'data/golden'))
NORM = 'backbone.network.norm.'  # a final norm, which no level passes
TOLERANCE = {torch.float64: 3e-6, torch.float32: 1e-4}  # the values are stored in single
dtypes = pytest.mark.parametrize('dtype', TOLERANCE, ids=str)


def needs(name):
    return pytest.mark.skipif(
        not (GOLDEN / name).is_file(), reason=f'set MTPEFT_GOLDEN to the folder with {name}'
    )


def tokens(level):
    """Every fourth token of a level ``(1, C, H, W)``, as the golden files keep them."""
    return level.flatten(2).transpose(1, 2)[0, ::4].float()


def close(ours, theirs, dtype):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype])


class Prompts:
    """Records a backbone's prompts at the end of each stage, behind their projection."""

    def __init__(self, backbone):
        self.seen, stream = [], backbone.token_stream
        for projection in stream.projections:
            projection.register_forward_hook(lambda module, x, out: self.seen.append(out))
        leave = stream.leave

        def last_one(block, prompts, rows, last):
            if last:
                self.seen.append(rows)
            return leave(block, prompts, rows, last)

        stream.leave = last_one


@dtypes
def test_first_stage_equals_the_published_formulas(dtype):
    data = load_file(STAGE0)
    weights = {k.removeprefix('weights/'): v for k, v in data.items() if k.startswith('weights/')}
    model = MODELS.build(MODEL).to(dtype).eval()
    state = tadformer_to_mtpeft(weights, TASKS)
    model.init_weights()  # the file holds a part of the base only
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    prompts = Prompts(model.backbone)
    with torch.no_grad():
        levels = model.backbone(data['image'].to(dtype))
    for task in TASKS:
        close(tokens(levels[task][0]), data[f'features/{task}'], dtype)
    close(prompts.seen[0][0].float(), data['prompts'], dtype)


@needs('tadformer_tiny.pt')
@dtypes
def test_features_prompts_and_outputs_equal_the_published_formulas(dtype):
    golden = torch.load(GOLDEN / 'tadformer_tiny.pt', weights_only=True)
    model = MODELS.build(MODEL).to(dtype).eval()
    result = model.load_state_dict(tadformer_to_mtpeft(golden['state_dict']), strict=False)
    assert not result.unexpected_keys
    assert all(key.startswith(NORM) for key in result.missing_keys)
    prompts = Prompts(model.backbone)
    image = golden['image'].to(dtype)
    with torch.no_grad():
        levels = model.backbone(image)
        seen = list(prompts.seen)
        logits = model(image)
    for task in TASKS:
        for ours, theirs in zip(levels[task], golden['stage_task_features'][task], strict=True):
            close(tokens(ours), theirs, dtype)
        close(logits[task][0, :, ::8, ::8].float(), golden['outputs'][task], dtype)
    for ours, theirs in zip(seen, golden['stage_prompts'], strict=True):
        close(ours[0].float(), theirs, dtype)


@needs('tadformer_tiny.pt')
def test_the_shared_stream_equals_the_published_formulas(monkeypatch):
    golden = torch.load(GOLDEN / 'tadformer_tiny.pt', weights_only=True)
    model = MODELS.build(MODEL).double().eval()
    model.load_state_dict(tadformer_to_mtpeft(golden['state_dict']), strict=False)
    streams = model.backbone.streams
    shared, run = [], streams.stage
    monkeypatch.setattr(streams, 'stage', lambda *given: shared.append(run(*given)) or shared[-1])
    with torch.no_grad():
        model.backbone(golden['image'].double())
    for (x, *_), theirs in zip(shared, golden['stage_shared_features'], strict=True):
        close(tokens(x.permute(0, 3, 1, 2)), theirs, torch.float64)


@needs('tadformer_r64_pascal_keys.txt')
def test_released_keys_and_shapes_fit_the_config(tmp_path):
    lines = (GOLDEN / 'tadformer_r64_pascal_keys.txt').read_text().splitlines()
    released = {}
    for line in lines:
        key, shape = line.split('\t')
        released[key] = torch.zeros([int(n) for n in shape.strip('()').split(',') if n.strip()])
    released['backbone.task_prompts'] += torch.arange(4.0)[:, None]
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save({'model': released}, source)
    call_tool('tools/model_converters/tadformer_to_mtpeft.py', source, target)
    state = torch.load(target, weights_only=True)['state_dict']
    # prompts are in the order of the projections in the file
    order = {task: float(state[f'backbone.token_stream.prompts.{task}'][0, 0]) for task in TASKS}
    assert order == dict(semseg=0, normals=1, sal=2, human_parts=3)
    config = Config.fromfile(ROOT / 'configs/tadformer/tadformer-r64_swin-t_pascal.py')
    result = MODELS.build(config.model).load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(key.startswith(NORM) for key in result.missing_keys)


def test_other_models_are_refused():
    prompts = {'backbone.task_prompts': torch.zeros(4, 8)}
    with pytest.raises(ValueError, match='expected the state dict of a released TADFormer model'):
        tadformer_to_mtpeft({'layers.0.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match="'other.weight' is of no known kind"):
        tadformer_to_mtpeft({**prompts, 'other.weight': torch.zeros(1)}, TASKS)
    with pytest.raises(ValueError, match='has 4 rows, expected a multiple of the 3 tasks'):
        tadformer_to_mtpeft(prompts, TASKS[:3])
    with pytest.raises(ValueError, match='multiple of the 0 tasks'):
        tadformer_to_mtpeft(prompts)


def test_several_prompts_of_a_task():
    rows = torch.arange(8.0)[:, None].expand(8, 3)
    state = tadformer_to_mtpeft({'backbone.task_prompts': rows}, TASKS)
    assert state['backbone.token_stream.prompts.sal'][:, 0].tolist() == [4, 5]
