"""A published file is small, says what it is, and is the model that was trained."""

import hashlib
import json
import re

import numpy as np
import pytest
import torch
from helpers.engine import call_tool, tiny, train, write_base
from helpers.shrunk import shrunk_run
from mmengine.config import Config
from safetensors import safe_open

import mtpeft
from mtpeft.adapters import rank_pattern
from mtpeft.apis import MultiTaskInferencer, build_runner, init_model
from mtpeft.checkpoints.files import CheckpointError, safe_load

TOOL = 'tools/model_converters/publish_model.py'
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run with averaging: config.py, and run/ with epoch_3.pth and the best one."""
    folder = tmp_path_factory.mktemp('published')
    shrunk_run(write_base(folder / 'base.pth'), folder, ema=True)
    return folder


@pytest.fixture(scope='module')
def last(folder):
    return folder / 'run' / 'epoch_3.pth'


def publish(source, target, *options):
    call_tool(TOOL, source, target, *options)
    return target


def outputs(config, checkpoint):
    return MultiTaskInferencer(init_model(str(config), checkpoint))(PICTURE)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_what_is_in_the_file(folder, last, tmp_path, capsys):
    out = publish(last, tmp_path / 'new' / 'out.safetensors')
    said = capsys.readouterr().out
    saved = safe_load(last)
    with safe_open(out, framework='pt') as file:
        meta = {key: json.loads(text) for key, text in file.metadata().items()}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    assert tensors.keys() == saved['state_dict'].keys()
    assert all(torch.equal(tensors[k], v) for k, v in saved['state_dict'].items())
    # (of folders of this machine the name of the file is left)
    cfg = re.sub("'/[^']*/", "'", saved['meta']['cfg'])
    assert meta['base'] == saved['meta']['base'] and meta['cfg'] == cfg != saved['meta']['cfg']
    assert meta['rank_pattern'] == saved['meta']['rank_pattern']
    assert list(meta['rank_pattern']) == list(saved['meta']['rank_pattern'])
    assert meta['tasks'] == ['semseg', 'depth']
    assert meta['mtpeft_version'] == mtpeft.__version__ and meta['weights'] == 'averaged'
    digest = hashlib.sha256(last.read_bytes()).hexdigest()
    assert meta['source'] == dict(name='epoch_3.pth', sha256=digest, epoch=3, iter=9)
    held = sum(t.numel() * t.element_size() for t in tensors.values())
    names = sum(map(len, tensors))
    text = len(json.dumps(meta))
    assert held < out.stat().st_size < held + 1.3 * text + 2 * names + 100 * len(tensors)
    assert f'{last.stat().st_size:,} bytes' in said and f'{out.stat().st_size:,} bytes' in said
    pattern, last_block = meta['rank_pattern'], 'backbone.network.layers.3'
    assert {layer.rsplit('.', 4)[0] for layer in meta['idle_streams']} == {last_block}
    ranks = [rank for layer, ranks in pattern.items() for stream, rank in ranks.items()
             if stream != 'shared' or not layer.startswith(last_block)]  # fmt: skip
    assert f'mean rank {np.mean(ranks):.2f} (shared ' in said
    assert 'of 22 streams in 8 layers; 2 more have no effect' in said
    assert [p.name for p in out.parent.iterdir()] == ['out.safetensors']


def test_it_gives_the_same_predictions(folder, last, tmp_path):
    out = publish(last, tmp_path / 'out.safetensors')
    config = folder / 'config.py'
    assert same(outputs(config, last), outputs(config, out))
    model = init_model(str(config), out)
    assert rank_pattern(model) == safe_load(last)['meta']['rank_pattern']


def test_the_weights_that_were_averaged(folder, last, tmp_path):
    averaged = publish(last, tmp_path / 'a.safetensors', '--ema')
    trained = publish(last, tmp_path / 't.safetensors', '--no-ema')
    config = folder / 'config.py'
    assert same(outputs(config, averaged), outputs(config, last))
    assert not same(outputs(config, trained), outputs(config, last))
    saved = safe_load(last)
    for key, value in safe_load(trained)['state_dict'].items():
        assert torch.equal(value, saved['ema_state_dict'][f'module.{key}']), key


def test_the_test_tool_takes_it(folder, last, tmp_path):
    out = publish(last, tmp_path / 'out.safetensors')
    results = []
    for checkpoint in (last, out):
        call_tool('tools/test.py', folder / 'config.py', checkpoint, '--work-dir', tmp_path / 'w',
                  '--out', tmp_path / 'metrics.json')  # fmt: skip
        metrics = json.loads((tmp_path / 'metrics.json').read_text())
        results.append({k: v for k, v in metrics.items() if '/' in k})
    assert results[0] == results[1] and 'depth/rmse' in results[0]


def test_the_best_checkpoint(folder, tmp_path):
    best = next((folder / 'run').glob('best_*.pth'))
    out = publish(best, tmp_path / 'out.safetensors')
    assert same(outputs(folder / 'config.py', best), outputs(folder / 'config.py', out))
    assert safe_load(best)['meta']['rank_pattern'] == safe_load(out)['meta']['rank_pattern']


def test_another_base_is_refused(folder, last, tmp_path):
    out = publish(last, tmp_path / 'out.safetensors')
    other = tiny(write_base(tmp_path / 'other.pth', seed=9))
    other.model.backbone.plugins = Config.fromfile(folder / 'config.py').model.backbone.plugins
    with pytest.raises(CheckpointError, match='another base'):
        init_model(other, out)


def test_a_run_starts_from_it_but_does_not_go_on(folder, last, tmp_path):
    out = publish(last, tmp_path / 'out.safetensors')
    cfg = Config.fromfile(folder / 'config.py')
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook['type'] != 'EMAHook']
    runner = build_runner(cfg, work_dir=str(tmp_path / 'a'), checkpoint=str(out))
    runner.load_or_resume()
    assert rank_pattern(runner.model) == safe_load(last)['meta']['rank_pattern']
    runner = build_runner(cfg, work_dir=str(tmp_path / 'b'), resume=str(out))
    with pytest.raises(CheckpointError, match='no state of a run.*load_from'):
        runner.train()


def test_models_without_adapters_of_a_rank(tmp_path, capsys):
    cfg = tiny(write_base(tmp_path / 'base.pth'), train_cfg__max_epochs=1,
               model__backbone__plugins=[])  # fmt: skip
    train(cfg, tmp_path)
    out = publish(tmp_path / 'epoch_1.pth', tmp_path / 'out.safetensors')
    assert 'rank_pattern' not in safe_load(out)['meta']
    assert safe_load(out)['meta']['weights'] == 'trained'
    assert 'rank' not in capsys.readouterr().out.replace(str(tmp_path), '')


# -- bad input -------------------------------------------------------------------------------------


def refused(match, *words):
    with pytest.raises(SystemExit, match=match):
        call_tool(TOOL, *words)


def test_an_existing_file_stays_unless_forced(last, tmp_path):
    out = tmp_path / 'out.safetensors'
    out.write_bytes(b'mine')
    refused('exists.*--force', last, out)
    assert out.read_bytes() == b'mine'
    publish(last, out, '--force')
    assert safe_load(out)['meta']['tasks'] == ['semseg', 'depth']


def test_the_target_must_be_safetensors(last, tmp_path):
    refused('end in .safetensors, got .*out.pth', last, tmp_path / 'out.pth')


def test_what_is_no_checkpoint_of_a_run(folder, last, tmp_path):
    out = tmp_path / 'out.safetensors'
    refused("(?s)no checkpoint of a run.*'patch_embed.proj.weight'", folder / 'base.pth', out)
    torch.save(dict(state_dict=dict(a=1), meta=dict(epoch=1)), tmp_path / 'odd.pth')
    refused("odd.pth: expected tensors by name.*got a int as 'a'", tmp_path / 'odd.pth', out)
    (tmp_path / 'noise.pth').write_bytes(b'noise')
    refused('truncated, damaged', tmp_path / 'noise.pth', out)
    refused('does not exist', tmp_path / 'none.pth', out)
    refused('no checkpoint of a run', publish(last, tmp_path / 'p.safetensors'), out)
    assert not out.exists()


def test_no_average_to_publish(last, tmp_path):
    saved = safe_load(last)
    del saved['ema_state_dict']
    torch.save(saved, tmp_path / 'plain.pth')
    out = tmp_path / 'out.safetensors'
    refused('no average.*EMAHook', tmp_path / 'plain.pth', out, '--ema')
    assert not out.exists()
    publish(tmp_path / 'plain.pth', out, '--no-ema')


def test_half_precision_is_half_the_size_and_the_same_ranks(folder, last, tmp_path):
    whole = publish(last, tmp_path / 'whole.safetensors')
    half = publish(last, tmp_path / 'half.safetensors', '--half')
    states = [safe_load(path) for path in (whole, half)]
    for key, value in states[0]['state_dict'].items():
        expected = value.half() if value.is_floating_point() else value
        assert torch.equal(states[1]['state_dict'][key], expected), key
    assert states[0]['meta'] == states[1]['meta']
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    model = init_model(str(folder / 'config.py'), half)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_without_what_has_no_effect_the_predictions_stay(folder, last, tmp_path):
    whole = publish(last, tmp_path / 'whole.safetensors')
    small = publish(last, tmp_path / 'small.safetensors', '--no-idle')
    assert small.stat().st_size < whole.stat().st_size
    before, after = (safe_load(path) for path in (whole, small))
    idle = before['meta']['idle_streams']
    for layer, ranks in after['meta']['rank_pattern'].items():
        wanted = dict(before['meta']['rank_pattern'][layer])
        wanted.update({stream: 1 for stream in idle.get(layer, ())})
        assert ranks == wanted
    assert idle and same(outputs(folder / 'config.py', whole), outputs(folder / 'config.py', small))
