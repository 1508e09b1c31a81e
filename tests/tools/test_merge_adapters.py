"""Merged files: written, loaded as any checkpoint, and refused where they do not fit."""

import json

import numpy as np
import pytest
import torch
from helpers.adapter_grid import stir
from helpers.configs import PICO, build
from helpers.engine import call_tool
from mmengine.config import Config
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mtpeft.adapters import low_rank_adapters
from mtpeft.apis import MultiTaskInferencer, build_runner, init_model
from mtpeft.checkpoints.files import CheckpointError

TOOL = 'tools/model_converters/merge_adapters.py'
SOME = (
    'faar_', 'faar-pdrs-dora', 'sinewich_', 'mtlora_', 'ditask_', 'tadformer', 'polyhistor-lite',
    'lora_', 'vpt-shallow', 'full_finetune',
)  # fmt: skip
CONFIGS = [next(p for p in PICO if p.name.startswith(name)) for name in SOME]
TIED = {'faar_': 'TSPD', 'tadformer': 'TaskPromptStream', 'sinewich_': 'attend to the tokens'}
over_configs = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.name)


def config(path, folder, **options):
    cfg = Config.fromfile(path)
    cfg.model.backbone.backbone.pretrained = False
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def trained(path, folder, prune=True):
    """A config's model away from its start, some components pruned, as config and checkpoint."""
    model = build(path).eval()
    stir(model, 0.05)
    for number, adapter in enumerate(low_rank_adapters(model).values() if prune else ()):
        for group in adapter.groups.values():
            for index in range(len(group.streams)):
                order = torch.randperm(group.rank)[: 1 + (number + index) % group.rank]
                tensors = {name: [p.data] for name, p in group.parameters.items()}
                group.keep(index, order, tensors)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'model.pth')
    return model, config(path, folder), folder / 'model.pth'


def picture(height=70, width=50):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def close(found, expected):
    assert found.keys() == expected.keys()
    for task, wanted in expected.items():
        peak = float(wanted.abs().max())
        torch.testing.assert_close(found[task], wanted, rtol=1e-4, atol=1e-4 * peak, msg=task)


def outputs(model, size=(64, 96)):
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model(x)


@over_configs
def test_a_merged_file_is_the_model(path, tmp_path):
    model, cfg, ckpt = trained(path, tmp_path)
    out = tmp_path / 'out' / 'merged.safetensors'
    call_tool(TOOL, cfg, ckpt, out)
    loaded = init_model(cfg, out)
    assert loaded.merged and not loaded.training
    close(outputs(loaded), outputs(model))
    assert {k: v.shape for k, v in loaded.state_dict().items()} == {
        k: v.shape for k, v in load_file(out).items()
    }
    with safe_open(out, framework='pt') as file:
        meta = {key: json.loads(text) for key, text in file.metadata().items()}
    assert meta['tasks'] == list(model.tasks) and meta['merged'] and 'backbone' in meta['config']
    with pytest.raises(RuntimeError, match='nothing to go back to'):
        loaded.unmerge_adapters()


@over_configs
def test_some_tasks(path, tmp_path, capsys):
    model, cfg, ckpt = trained(path, tmp_path)
    wanted = list(model.tasks)[::2]
    out, whole = tmp_path / 'some.safetensors', tmp_path / 'all.safetensors'
    tie = next((text for name, text in TIED.items() if path.name.startswith(name)), None)
    if tie is not None:
        with pytest.raises(SystemExit, match=f'{tie}.*MultiTaskInferencer'):
            call_tool(TOOL, cfg, ckpt, out, '--tasks', *wanted)
        assert not out.exists()
        return
    call_tool(TOOL, cfg, ckpt, out, '--tasks', *wanted)
    call_tool(TOOL, cfg, ckpt, whole)
    loaded = init_model(cfg, out)
    assert list(loaded.tasks) == wanted
    full = outputs(model)
    close(outputs(loaded), {task: full[task] for task in wanted})
    assert out.stat().st_size < whole.stat().st_size
    dropped = set(model.tasks) - set(wanted)
    assert not any(part in dropped for key in load_file(out) for part in key.split('.'))
    result = MultiTaskInferencer(loaded)(picture())
    expected = MultiTaskInferencer(init_model(cfg, ckpt), tasks=wanted)(picture())
    for task in wanted:
        assert result[task].shape == expected[task].shape


def test_what_does_not_fit_is_refused(tmp_path):
    path = next(p for p in PICO if p.name.startswith('lora_'))
    _, cfg, ckpt = trained(path, tmp_path, prune=False)
    out = tmp_path / 'merged.safetensors'
    for arguments, message in (
        ((tmp_path / 'no.pth', out), 'no.pth does not exist'),
        ((cfg, out), 'truncated, damaged, or no checkpoint'),
        ((ckpt, tmp_path / 'merged.pth'), r'name it \*.safetensors'),
        ((ckpt, out, '--tasks', 'dept'), "no task 'dept'.*'depth'"),
    ):
        with pytest.raises(SystemExit, match=message):
            call_tool(TOOL, cfg, *arguments)
        assert not out.exists()
    call_tool(TOOL, cfg, ckpt, out)
    with pytest.raises(SystemExit, match='exists'):
        call_tool(TOOL, cfg, ckpt, out)
    call_tool(TOOL, cfg, ckpt, out, '--force')
    with pytest.raises(SystemExit, match='merged already'):
        call_tool(TOOL, cfg, out, tmp_path / 'again.safetensors')


@pytest.fixture
def merged(tmp_path):
    path = next(p for p in PICO if p.name.startswith('lora_'))
    _, cfg, ckpt = trained(path, tmp_path, prune=False)
    call_tool(TOOL, cfg, ckpt, tmp_path / 'merged.safetensors')
    return path, cfg, tmp_path / 'merged.safetensors'


def changed(file, folder, meta=None, **tensors):
    """A copy of a merged file with other tensors (``None``: without) and metadata."""
    state = {**load_file(file), **tensors}
    with safe_open(file, framework='pt') as opened:
        own = opened.metadata()
    del own['digest']  # else it would be refused as damaged
    own.update({key: json.dumps(value) for key, value in (meta or {}).items()})
    save_file({k: v for k, v in state.items() if v is not None}, folder / 'x.safetensors', own)
    return folder / 'x.safetensors'


def test_a_merged_file_of_another_model_is_refused(merged, tmp_path):
    path, cfg, file = merged
    key = next(k for k in load_file(file) if k.endswith('mlp.fc1.weight'))
    folder = tmp_path / 'other'
    folder.mkdir()
    other = config(next(p for p in PICO if p.name.startswith('mtlora_')), folder)
    for given, source, message in (
        (other, file, 'merged otherwise than the config says'),
        (cfg, changed(file, folder, dict(tasks=['edge2'])), 'Use the config it was trained with'),
        (cfg, changed(file, folder, dict(merged=True)), 'merged otherwise'),
    ):
        with pytest.raises(CheckpointError, match=message):
            init_model(given, source)
    for tensor, message in (
        (None, f'missing in the file: {key}'),
        (torch.ones(2, 2), 'do not fit'),
    ):
        with pytest.raises(CheckpointError, match=message):
            init_model(cfg, changed(file, folder, **{key: tensor}))
    with pytest.raises(CheckpointError, match='unknown to the model: spare'):
        init_model(cfg, changed(file, folder, spare=torch.ones(1)))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match='truncated'):
        init_model(cfg, file)


def test_a_run_refuses_a_merged_file(merged, tmp_path):
    _, cfg, file = merged
    cfg = Config.fromfile(cfg)
    cfg.load_from = str(file)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    runner = build_runner(cfg, work_dir=str(tmp_path / 'run'))
    with pytest.raises(CheckpointError, match='merged model, for inference only'):
        runner.load_or_resume()
