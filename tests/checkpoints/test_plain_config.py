"""The config inside of a file: what is written, and that nothing dangerous is read."""

import json

import numpy as np
import pytest
import torch
from helpers.configs import PICO, ROOT
from helpers.engine import CONFIG
from mmengine.config import Config

from mtpeft.adapters import LoRA
from mtpeft.checkpoints.config_text import read_config_text
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.plain_config import FORMAT, TRAINING_ONLY, from_plain, plain_config
from mtpeft.models import MultiTaskModel
from mtpeft.registry import MODELS

#: one of each folder
ONE_EACH = sorted({path.parent: path for path in PICO}.values())


def as_lists(value):
    """A config as JSON has it, by a walk of its own."""
    if isinstance(value, dict):
        return {k: as_lists(v) for k, v in value.items() if k != 'init_cfg'}
    return [as_lists(v) for v in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize('path', ONE_EACH, ids=lambda path: path.stem)
def test_a_config_comes_back_as_it_was(path):
    cfg = Config.fromfile(path)
    text = json.dumps(plain_config(cfg))
    again = from_plain(json.loads(text), 'It')
    model = {k: v for k, v in cfg.model.to_dict().items() if k not in TRAINING_ONLY}
    assert again.model.to_dict() == as_lists(model)
    # (equal dicts may differ in their order, which plugins and tasks have)
    assert json.dumps(again.model.to_dict()) == json.dumps(as_lists(model))
    assert again.test_dataloader.dataset.pipeline == as_lists(cfg.test_dataloader.dataset.pipeline)
    assert set(again.test_dataloader.dataset) <= {'pipeline', 'exif_rotation'}
    assert str(ROOT) not in text and 'data_root' not in text


@pytest.mark.usefixtures('structure_only')
@pytest.mark.parametrize('path', ONE_EACH[::4], ids=lambda path: path.stem)
def test_it_builds_the_same_model(path):
    cfg = Config.fromfile(path)
    cfg.model.backbone.backbone.pretrained = False
    again = from_plain(json.loads(json.dumps(plain_config(cfg))), 'It')
    one, other = MODELS.build(cfg.model), MODELS.build(again.model)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (one, other)]
    assert shapes[0] == shapes[1] and list(one.tasks) == list(other.tasks)


def tiny(**options):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return cfg


def test_only_what_predictions_need():
    cfg = tiny(model__loss_weighting=dict(type='UncertaintyWeighting'))
    cfg.model.decoder.head.init_cfg = dict(type='Pretrained', checkpoint='/home/me/head.pth')
    cfg.model.backbone.backbone.pretrained = '/home/me/base.pth'
    kept = plain_config(cfg)
    assert set(kept) == {'format', 'default_scope', 'model', 'test_dataloader'}
    assert kept['format'] == FORMAT and 'loss_weighting' not in kept['model']
    assert kept['model']['backbone']['backbone']['pretrained'] is None
    assert '/home' not in json.dumps(kept)


def test_a_class_is_written_by_its_name():
    cfg = tiny()
    cfg.model.type = MultiTaskModel
    cfg.model.backbone.plugins[0].cfg = dict(type=LoRA, rank=2)
    kept = plain_config(cfg)
    assert kept['model']['type'] == 'MultiTaskModel'
    assert kept['model']['backbone']['plugins'][0]['cfg']['type'] == 'LoRA'


class Mine(torch.nn.Module):
    """Registered nowhere."""


WITHOUT_JSON = {
    'model.backbone.backbone.act_layer': torch.nn.GELU,
    'model.decoder.head.channels': np.int64(8),
    'model.data_preprocessor.mean': torch.zeros(3),
    'model.img_size': lambda: (32, 32),
    'model.backbone.with_cp': float('inf'),
}


@pytest.mark.parametrize('place', WITHOUT_JSON)
def test_what_json_has_not_is_an_error_by_its_place(place):
    cfg = tiny().to_dict()
    *path, last = place.split('.')
    node = cfg
    for name in path:
        node = node[name]
    node[last] = WITHOUT_JSON[place]
    with pytest.raises(CheckpointError, match=f'^{place}'):
        plain_config(cfg)


def test_a_class_of_nobody_is_an_error():
    cfg = tiny().to_dict()
    cfg['model']['decoder'] = dict(type=Mine)
    with pytest.raises(CheckpointError, match=r'model.decoder.type: Mine of .* registered nowhere'):
        plain_config(cfg)


# -- what others may have written ------------------------------------------------------------------


def content(**model):
    kept = plain_config(tiny())
    kept['model'].update(model)
    return kept


def backbone(**options):
    return dict(plain_config(tiny())['model']['backbone'], **options)


BAD = {
    'a function of a module': content(type='os.system'),
    'a module that would be imported': content(decoder=dict(type='antigravity.X')),
    'a scope of another package': content(decoder=dict(type='pip.X')),
    'a task by its key': content(tasks={'os.system': {}}),
    'a task by its value': content(tasks={'a': 'os.system'}),
    'a task in a list': content(tasks=['os.system']),
    'a task with a type': content(tasks=dict(a=dict(type='builtins.print'))),
    'tasks of a part': content(data_preprocessor=dict(type='MultiTaskDataPreprocessor',
                                                      tasks={'os.system': {}})),
    'start values of a file': content(init_cfg=dict(type='Pretrained', checkpoint='x.pth')),
    'weights at an address': content(backbone=backbone(
        backbone=dict(type='timm.resnet18', pretrained='https://x.org/a.pth'))),
    'weights of a path': content(backbone=backbone(
        backbone=dict(type='timm.resnet18', pretrained='a.pth'))),
    'a package that would be imported': content(backbone=backbone(
        backbone=dict(type='timm.resnet18', pretrained='pypi:antigravity'))),
    'a checkpoint of timm': content(backbone=backbone(
        backbone=dict(type='timm.resnet18', checkpoint_path='a.pth'))),
    'a hub by its url': content(backbone=backbone(
        backbone=dict(type='timm.resnet18', pretrained_cfg=dict(hf_hub_id='evil/x')))),
    'a model of timm that is none': content(backbone=backbone(
        backbone=dict(type='timm.hf-hub:evil/x'))),
    "mmseg's loader of timm": content(backbone=dict(type='mmseg.TIMMBackbone', model_name='x')),
    'a path': content(img_size='/etc/passwd'),
    'an address': content(img_size='s3://x'),
    'imports': dict(content(), custom_imports=dict(imports=['antigravity'])),
    'another scope': dict(content(), default_scope='pip'),
    'a scope inside': content(decoder=dict(type='MultiHeadDecoder', _scope_='pip')),
    'no type': content(type=['MultiTaskModel']),
    'tasks of a head': content(decoder=dict(type='MultiHeadDecoder', tasks=['os.system'])),
}  # fmt: skip


@pytest.mark.parametrize('kind', BAD)
def test_what_could_run_code_or_name_a_file_is_refused(kind, monkeypatch):
    ran = []
    monkeypatch.setattr('os.system', ran.append)
    with pytest.raises(CheckpointError, match='^File x: the config inside was not used') as said:
        from_plain(json.loads(json.dumps(BAD[kind])), 'File x')
    assert not ran and len(str(said.value)) > 60


def test_what_is_fine_stays_fine():
    from_plain(content(), 'It')
    from_plain(content(tasks=['sal', 'depth']), 'It')
    part = dict(type='timm.swinv2_tiny_window8_256', pretrained=True,
                pretrained_window_sizes=[0, 0, 0, 0])  # fmt: skip
    from_plain(content(backbone=backbone(backbone=part)), 'It')
    from_plain(content(decoder=dict(type='mmseg.UPerHead', norm_cfg=dict(type='BN'))), 'It')
    # as parts are that come from _base_ = 'mmseg::...'
    from_plain(content(decoder=dict(type='UPerHead', _scope_='mmseg')), 'It')


@pytest.mark.parametrize('number', [FORMAT + 1, 99])
def test_a_newer_format_is_said_so(number):
    with pytest.raises(CheckpointError, match=f'File x.*format {number}.*newer mtpeft'):
        from_plain(dict(content(), format=number), 'File x')


@pytest.mark.parametrize('thing', [None, [], 'text', {}, dict(format='1'), dict(format=True)])
def test_no_config_at_all(thing):
    with pytest.raises(CheckpointError, match='File x: expected a config'):
        from_plain(thing, 'File x')


# -- texts of earlier versions ---------------------------------------------------------------------


def test_a_text_is_read_without_running_it():
    cfg = Config.fromfile(CONFIG)
    text = Config.__dict__['pretty_text'].fget(cfg)
    values = read_config_text(text, list(cfg.tasks))
    assert as_lists(cfg.model.to_dict()) == as_lists(values['model'])
    assert list(values['model']['tasks']) == list(cfg.tasks)
    assert plain_config(values) == plain_config(cfg)


@pytest.mark.parametrize('text', [
    'import os', 'a = print(1)', 'a = dict(**b)', 'a = [x for x in y]', 'a = (', 'a.b = 1',
    'a = dict(b=lambda: 1)',
])  # fmt: skip
def test_a_text_of_code_is_refused(text):
    with pytest.raises(CheckpointError, match='text of its config'):
        read_config_text(text)
