"""Models as files and folders that need no config beside them."""

import argparse
import json
import re
import shutil

import numpy as np
import pytest
import torch
from helpers.adapter_grid import stir
from helpers.configs import PICO
from helpers.engine import tiny, train, write_base
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import mtpeft
from mtpeft.apis import MultiTaskInferencer, from_pretrained, init_model, save_pretrained
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.plain_config import KEY
from mtpeft.cli import merge, publish
from mtpeft.cli.model_argument import add_model_argument, read_model
from mtpeft.models import MultiTaskModel
from mtpeft.models.backbones import PretrainedWeightsError

METHODS = ['faar_', 'sinewich_', 'tadformer']
X = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def outputs(model):
    with torch.no_grad():
        return model.eval()(X)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def contents(file):
    """The metadata of a file, its digests of the tensors included, and the tensors' names."""
    with safe_open(file, framework='pt') as opened:
        return opened.metadata(), set(opened.keys())


def check_no_folder(file, base):
    """Nothing in a file names a folder of this machine; the base has its name."""
    with safe_open(file, framework='pt') as opened:
        texts = [str(text) for text in opened.metadata().values()]
    assert not [text for text in texts if str(base.parent) in text]
    strings = re.findall(r"""["'](/|~|[A-Za-z]:\\)[^"']""", ' '.join(texts))
    assert not strings


def words(command, *given):
    """What a command of the package does with some words."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in given]))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


@pytest.fixture
def model(base):
    model = init_model(tiny(base))
    stir(model)
    return model


# -- folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', METHODS)
def test_a_folder_is_the_model(method, tmp_path):
    """On a base that ships with mtpeft, so that nothing else has to be given."""
    model = init_model(Config.fromfile(next(p for p in PICO if p.name.startswith(method))))
    stir(model, 0.05)
    files = model.save_pretrained(tmp_path / 'rooms')
    assert [f.name for f in files] == ['model.safetensors', 'config.json', 'README.md']
    again = from_pretrained(tmp_path / 'rooms')
    assert same(outputs(again), outputs(model)) and not again.training
    assert list(again.tasks) == list(model.tasks)
    picture = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    one, other = (MultiTaskInferencer(m)(picture) for m in (model, again))
    assert all(np.array_equal(one[k], other[k]) for k in one)
    # a file written of the loaded model holds the same
    assert contents(again.save_pretrained(tmp_path / 'again')[0]) == contents(files[0])


def test_what_is_in_it(model, base, tmp_path):
    files = model.save_pretrained(
        tmp_path / 'rooms', data='four rooms', metrics={'depth/rmse': 0.51234}, licence='mit'
    )
    state = load_file(files[0])
    frozen = {f'backbone.{key}' for key in model.backbone.frozen_state_keys()}
    assert not frozen & set(state) and frozen | set(state) == set(model.state_dict())
    with safe_open(files[0], framework='pt') as file:
        meta = {key: json.loads(text) for key, text in file.metadata().items()}
    assert meta[KEY] == json.loads(files[1].read_text())
    assert meta['tasks'] == ['semseg', 'depth'] and meta['mtpeft_version'] == mtpeft.__version__
    assert meta['base']['backbone']['sha256'] == model.backbone.base_identity()['sha256']
    check_no_folder(files[0], base)
    card = files[2].read_text()
    head = card.split('---')[1]
    assert 'license: mit' in head and 'library_name: mtpeft' in head
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    for text in ('four rooms', '0.5123', f'{trained:,} trained', 'MTLoRA', 'base.pth', 'rooms'):
        assert text in card


def test_the_base_is_given_or_asked_for(model, base, tmp_path):
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r'base.pth, sha256.*base=PATH'):
        from_pretrained(tmp_path)
    expected = outputs(model)
    assert same(outputs(from_pretrained(tmp_path, base=base)), expected)
    by_name = from_pretrained(tmp_path, base=torch.load(base))
    assert same(outputs(by_name), expected)
    assert not any(isinstance(v, dict) for v in by_name.backbone.base_cfg.values())
    other = write_base(tmp_path / 'other.pth', seed=9)
    with pytest.raises(CheckpointError, match='another base'):
        from_pretrained(tmp_path, base=other)
    with pytest.raises(PretrainedWeightsError, match='no such file'):
        from_pretrained(tmp_path, base=tmp_path / 'no.pth')


def test_a_base_of_timm_that_cannot_be_fetched(model, base, tmp_path):
    model.cfg.model.backbone.backbone.pretrained = True
    model.save_pretrained(tmp_path)
    with pytest.raises(PretrainedWeightsError, match=r'could not be fetched.*base=PATH'):
        from_pretrained(tmp_path)
    assert same(outputs(from_pretrained(tmp_path, base=base)), outputs(model))


def test_a_random_base_is_in_the_file(tmp_path):
    model = init_model(tiny())
    stir(model)
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / 'model.safetensors')) == set(model.state_dict())
    assert same(outputs(from_pretrained(tmp_path)), outputs(model))


def test_a_merged_model_is_whole(model, tmp_path):
    expected = outputs(model)
    model.merge_adapters()
    merged = outputs(model)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    assert again.merged and same(outputs(again), merged)
    torch.testing.assert_close(merged, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(RuntimeError, match='cannot be trained'):
        again.train()
    again.save_pretrained(tmp_path / 'b')
    assert same(outputs(from_pretrained(tmp_path / 'b')), merged)


def test_a_model_merged_in_part_is_refused(model, tmp_path):
    model.backbone.merge_adapters()
    with pytest.raises(ValueError, match="'backbone' of MultiTaskModel is merged"):
        model.save_pretrained(tmp_path)


def test_half(model, base, tmp_path):
    whole = model.save_pretrained(tmp_path / 'a')[0].stat().st_size
    assert model.save_pretrained(tmp_path / 'b', half=True)[0].stat().st_size < 0.8 * whole
    close = outputs(from_pretrained(tmp_path / 'b', base=base))
    torch.testing.assert_close(close, outputs(model), rtol=1e-2, atol=1e-2)


def test_a_model_of_parts(tmp_path):
    """Built in Python, without a config: of what it was made with."""
    init_default_scope('mtpeft')
    cfg = tiny()
    options = {key: cfg.model[key] for key in ('tasks', 'backbone', 'necks', 'decoder')}
    model = MultiTaskModel(**options)
    model.save_pretrained(tmp_path)
    assert same(outputs(from_pretrained(tmp_path)), outputs(model))
    live = MultiTaskModel(**{**options, 'backbone': model.backbone})
    with pytest.raises(CheckpointError, match='^model.backbone: .*AdapterBackbone'):
        live.save_pretrained(tmp_path)


def test_what_was_unfrozen_while_it_trained(base, tmp_path):
    """Its values are in the file, and the base is known all the same, also once more."""
    model = init_model(tiny(base))
    layer = model.backbone.network.layers[3].blocks[0].attn.proj
    layer.requires_grad_(True)
    with torch.no_grad():
        layer.weight.add_(1)
    model.save_pretrained(tmp_path / 'a')
    again = from_pretrained(tmp_path / 'a', base=base)
    assert same(outputs(again), outputs(model))
    again.save_pretrained(tmp_path / 'b')
    assert same(outputs(from_pretrained(tmp_path / 'b', base=base)), outputs(model))
    with pytest.raises(CheckpointError, match='another base'):
        from_pretrained(tmp_path / 'b', base=write_base(tmp_path / 'other.pth', seed=9))


def test_segmentors(tmp_path):
    cfg = Config(dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32)),
            backbone=dict(
                type='mtpeft.AdapterBackbone',
                backbone=dict(tiny().model.backbone.backbone),
                plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['qkv'])],
            ),
            decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=4, num_convs=1,
                             num_classes=3, norm_cfg=dict(type='BN')),
            test_cfg=dict(mode='whole'),
        ),
        test_pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')],
    ))  # fmt: skip
    model = init_model(cfg)
    model.dataset_meta = dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0]] * 3)
    stir(model)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(model(X), again(X))
    assert again.cfg.test_pipeline == cfg.test_pipeline
    assert list(again.dataset_meta['classes']) == ['a', 'b', 'c']


# -- runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def run(base, tmp_path_factory):
    """A run of one epoch: its work dir, with a config."""
    folder = tmp_path_factory.mktemp('run')
    cfg = tiny(base, train_cfg__max_epochs=1)
    train(cfg, folder)
    cfg.dump(folder / 'config.py')
    for extra in set(folder.glob('*.py')) - {folder / 'config.py'}:
        extra.unlink()
    return folder


def test_a_work_dir(run, tmp_path):
    last = outputs(init_model(run / 'config.py', run / 'epoch_1.pth'))
    best = next(iter(run.glob('best_*.pth')), None)
    if best is not None:
        assert same(outputs(from_pretrained(run)), outputs(init_model(run / 'config.py', best)))
    assert same(outputs(from_pretrained(run, 'epoch_1.pth')), last)
    for path in (run / 'config.py', run / 'epoch_1.pth', run / 'last_checkpoint'):
        shutil.copy(path, tmp_path)
    assert same(outputs(from_pretrained(tmp_path)), last)
    shutil.copy(run / 'config.py', tmp_path / 'another.py')
    with pytest.raises(CheckpointError, match=r'found another.py, config.py'):
        from_pretrained(tmp_path)


def test_a_published_file_alone(run, base, tmp_path):
    out = tmp_path / 'out.safetensors'
    words(publish, run / 'epoch_1.pth', out)
    check_no_folder(out, base)
    with pytest.raises(CheckpointError, match=r'base.pth, sha256.*base=PATH'):
        from_pretrained(out)
    expected = outputs(init_model(run / 'config.py', out))
    assert same(outputs(from_pretrained(out, base=base)), expected)
    assert same(outputs(from_pretrained(run / 'epoch_1.pth', base=base)), expected)


def test_a_checkpoint_of_an_earlier_version_is_published_with_its_config(run, base, tmp_path):
    saved = safe_load(run / 'epoch_1.pth')
    assert str(base.parent) in saved['meta']['cfg']
    del saved['meta'][KEY]
    saved['meta']['base']['backbone']['weights'] = str(base)
    torch.save(dict(saved), tmp_path / 'old.pth')
    with pytest.raises(CheckpointError, match=r"earlier version.*from_pretrained\('CONFIG.py'"):
        from_pretrained(tmp_path / 'old.pth')
    words(publish, tmp_path / 'old.pth', tmp_path / 'out.safetensors')
    check_no_folder(tmp_path / 'out.safetensors', base)
    again = from_pretrained(tmp_path / 'out.safetensors', base=base)
    assert same(outputs(again), outputs(init_model(run / 'config.py', tmp_path / 'old.pth')))


def test_a_merged_file_alone(run, base, tmp_path):
    out = tmp_path / 'out.safetensors'
    words(merge, run / 'config.py', run / 'epoch_1.pth', out, '--tasks', 'depth')
    check_no_folder(out, base)
    model = from_pretrained(out)
    assert list(model.tasks) == ['depth'] and model.merged
    assert same(outputs(model), outputs(init_model(run / 'config.py', out)))


def test_a_model_that_ships():
    name = 'faar_efficientnet-lite2_scenes'
    model = from_pretrained(f'mtpeft:{name}')
    by_config = from_pretrained(name.replace('_', '-long_', 1), checkpoint=f'mtpeft:{name}')
    assert same(outputs(by_config), outputs(model))
    assert 'mtpeft:faar_efficientnet-lite2_scenes' in mtpeft.list_models()
    assert mtpeft.list_models('lora_*pico*') == ['lora_swin-pico_scenes']


# -- bad files -------------------------------------------------------------------------------------


def test_files_that_are_damaged(model, base, tmp_path):
    file = model.save_pretrained(tmp_path / 'a')[0]
    whole = file.read_bytes()
    bad = tmp_path / 'bad.safetensors'
    for cut in (0, 7, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match='truncated, damaged'):
            from_pretrained(bad, base=base)
    header = 8 + int.from_bytes(whole[:8], 'little')
    rng = np.random.default_rng(0)
    for place in [*rng.integers(8, header, 12), *rng.integers(header, len(whole), 12)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(7))
        bad.write_bytes(bytes(flipped))
        with pytest.raises(CheckpointError):
            from_pretrained(bad, base=base)


def test_numbers_that_are_not_finite_are_not_saved(model, tmp_path):
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if 'task_A' in n)[0, 0, 0] = torch.nan
    with pytest.raises(CheckpointError, match='not finite: .*task_A'):
        model.save_pretrained(tmp_path / 'rooms')
    assert not (tmp_path / 'rooms').exists()


def test_a_file_of_a_newer_version(model, tmp_path):
    file = model.save_pretrained(tmp_path)[0]
    with safe_open(file, framework='pt') as opened:
        meta = dict(opened.metadata())
    del meta['digest']
    meta[KEY] = json.dumps({**json.loads(meta[KEY]), 'format': 2})
    save_file(load_file(file), tmp_path / 'new.safetensors', meta)
    with pytest.raises(CheckpointError, match='new.safetensors.*format 2.*newer mtpeft'):
        from_pretrained(tmp_path / 'new.safetensors')


def test_names_that_are_nothing(tmp_path):
    (tmp_path / 'rooms.safetensors').write_bytes(b'')
    for source, message in {
        tmp_path / 'room.safetensors': 'no such file.*rooms.safetensors',
        tmp_path / 'a/b/c': 'no such file',
        'mtpeft:far': "ships no weights 'far'.*faar",
    }.items():
        with pytest.raises((FileNotFoundError, PretrainedWeightsError), match=message):
            from_pretrained(source)
    for source, message in {
        tmp_path: 'no folder of a model.*no config',
        PICO[0]: 'has no trained weights',
        PICO[0].stem: 'is a config, which has no trained weights',
        tmp_path / 'notes.txt': 'expected a model',
    }.items():
        (tmp_path / 'notes.txt').write_text('x')
        with pytest.raises(CheckpointError, match=message):
            from_pretrained(source)
    for source in (tmp_path / 'rooms.safetensors', 'mtpeft:faar_efficientnet-lite2_scenes'):
        with pytest.raises(CheckpointError, match='is a model by itself, and checkpoint=x.pth'):
            from_pretrained(source, checkpoint='x.pth')


# -- the command line ------------------------------------------------------------------------------


def test_model_on_a_command_line(run, base, tmp_path):
    parser = argparse.ArgumentParser()
    add_model_argument(parser)

    def read(*given):
        return read_model(parser.parse_args([str(word) for word in given]))

    expected = outputs(from_pretrained(run, 'epoch_1.pth'))
    config = run / 'config.py'
    for given in (
        (run / 'epoch_1.pth', '--base', base), (config, '--checkpoint', run / 'epoch_1.pth'),
        (run, '--checkpoint', 'epoch_1.pth', '--device', 'cpu'),
    ):  # fmt: skip
        model = read(*given)
        assert same(outputs(model.cpu()), expected) and model.cfg.model
    for given, message in {
        (tmp_path / 'no.pth',): 'no such file', (config,): 'no trained weights',
        (run / 'epoch_1.pth',): 'base=PATH', ('mtpeft:no',): 'ships no weights',
        (run / 'epoch_1.pth', '--base', config): 'config.py', ('none/such',): 'none/such',
    }.items():  # fmt: skip
        with pytest.raises(SystemExit, match=message):
            read(*given)
