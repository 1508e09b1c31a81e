"""Checkpoints are read without running the code in them."""

import logging
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub, MMLogger
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file
from torch import nn

from mtpeft.checkpoints.files import CheckpointError, name_of, safe_load
from mtpeft.checkpoints.model_state import load_checked
from mtpeft.checkpoints.schemes import use_safe_loading


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


def attacks(marker):
    return {
        'system': Touch(os.system, f'touch {marker}'),
        'eval': Touch(eval, f"open({str(marker)!r}, 'w')"),
        'open': Touch(open, str(marker), 'w'),
        'getattr': Touch(getattr, dict, 'fromkeys'),
        'attribute': Touch(getattr, HistoryBuffer, '__init__'),
    }


@pytest.mark.parametrize('name', attacks(''))
@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('loader', ['safe_load', 'mmengine'])
def test_pickled_code_is_refused_and_not_run(tmp_path, name, zipped, loader):
    marker, file = tmp_path / 'ran', tmp_path / 'evil.pth'
    content = dict(state_dict={'w': torch.ones(1)}, meta=attacks(marker)[name])
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    use_safe_loading()
    load = safe_load if loader == 'safe_load' else CheckpointLoader.load_checkpoint
    with pytest.raises(CheckpointError, match='evil.pth holds code'):
        load(str(file))
    assert not marker.exists()


def test_the_attacks_work_on_an_ordinary_load(tmp_path):
    marker, file = tmp_path / 'ran', tmp_path / 'evil.pth'
    torch.save(attacks(marker)['open'], file)
    torch.load(file, weights_only=False)
    assert marker.exists()


def test_a_plain_pickle_is_refused(tmp_path):
    file = tmp_path / 'evil.pth'
    file.write_bytes(pickle.dumps(Touch(open, str(tmp_path / 'ran'), 'w')))
    with pytest.raises(CheckpointError, match='evil.pth'):
        safe_load(file)
    assert not (tmp_path / 'ran').exists()


def test_the_log_of_a_run_comes_back(tmp_path):
    hub = MessageHub('hub')
    for value in (1.0, np.float32(2.0), torch.tensor(6.0)):
        hub.update_scalar('loss', value)
    hub.update_info('best_score', np.float64(0.5))
    hub.update_info('table', np.arange(3))
    torch.save(dict(message_hub=hub.state_dict()), tmp_path / 'x.pth')
    loaded = MessageHub('loaded')
    loaded.load_state_dict(safe_load(tmp_path / 'x.pth')['message_hub'])
    assert loaded.get_scalar('loss').mean() == 3.0
    assert loaded.get_scalar('loss').statistics('max') == 6.0
    assert loaded.get_info('best_score') == 0.5
    assert loaded.get_info('table').tolist() == [0, 1, 2]


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    file = tmp_path / 'cut.pth'
    torch.save(dict(state_dict={'w': torch.ones(1000)}), file)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match='cut.pth .* is truncated'):
        safe_load(file)


def test_damaged_pickle_inside_is_named(tmp_path):
    file = tmp_path / 'bad.pth'
    torch.save(dict(state_dict={'w': torch.ones(3)}), file)
    with zipfile.ZipFile(file) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(file, 'w') as new:
        for name, data in members.items():
            new.writestr(name, data[:-9] if name.endswith('data.pkl') else data)
    with pytest.raises(CheckpointError, match='bad.pth'):
        safe_load(file)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth does not exist'):
        safe_load(tmp_path / 'none.pth')


def test_safetensors(tmp_path):
    file = tmp_path / 'x.safetensors'
    save_file({'w': torch.arange(3)}, file, metadata=dict(base='{"type": "swin"}', note='text'))
    loaded = safe_load(file)
    assert loaded['state_dict']['w'].tolist() == [0, 1, 2]
    assert loaded['meta'] == dict(base=dict(type='swin'), note='text')
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match='x.safetensors'):
        safe_load(file)


@pytest.mark.parametrize('address', ['s3://a/b.pth', 'petrel:s3://a/b.pth', 'pavi://x'])
def test_addresses_that_would_be_unpickled_are_refused(address):
    use_safe_loading()
    with pytest.raises(CheckpointError, match='cannot be read safely'):
        CheckpointLoader.load_checkpoint(address)


def test_what_is_loaded_is_named_in_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(MMLogger, '_instance_dict', type(MMLogger._instance_dict)())
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    MMLogger.get_current_instance().addHandler(handler)
    torch.save(dict(state_dict=dict(a=torch.ones(1)), meta={}), tmp_path / 'a.pth')
    use_safe_loading()
    CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert any('Loads checkpoint by local backend' in text for text in said)


def test_unknown_named_model():
    use_safe_loading()
    with pytest.raises(KeyError, match='resnet50'):
        CheckpointLoader.load_checkpoint('torchvision://resnet50_')


W = dict(w=torch.ones(2))
FORMS = {
    'None': (None, 'got None'),
    'a list': ([W], 'got a list'),
    'a tensor': (torch.ones(2), 'got a Tensor'),
    'nothing': ({}, 'got no tensor'),
    'numbers': (dict(a=1, b='x'), 'got no tensor among the keys'),
    'number keys': ({0: torch.ones(1)}, r'got the key 0 \(a int\)'),
    'no state': (dict(state_dict=None, meta={}), "got None as 'state_dict'"),
    'an empty state': (dict(state_dict={}), "an empty 'state_dict'"),
    'a state of tuples': (dict(state_dict=[('w', torch.ones(1))]), "got a list as 'state_dict'"),
    'a number in the state': (dict(state_dict=dict(W, v=1.0)), "got a float as 'v'"),
    'number keys in the state': (dict(state_dict={1: torch.ones(1)}), 'got the key 1'),
    'odd meta': (dict(state_dict=W, meta=[1]), "got a list as 'meta'"),
}


@pytest.mark.parametrize('form', FORMS)
def test_what_has_no_form_of_a_checkpoint_is_one_error_with_its_file(tmp_path, form):
    content, found = FORMS[form]
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=f'Checkpoint .*odd.pth: expected tensors.*{found}'):
        safe_load(tmp_path / 'odd.pth')


def test_a_header_of_great_depth_is_an_error(tmp_path):
    save_file(W, tmp_path / 'deep.safetensors', metadata=dict(cfg='[' * 100_000))
    with pytest.raises(CheckpointError, match='deep.safetensors'):
        safe_load(tmp_path / 'deep.safetensors')


def test_what_was_loaded_knows_its_file_and_is_saved_as_a_plain_container(tmp_path):
    torch.save(dict(state_dict=W, meta=dict(epoch=1)), tmp_path / 'a.pth')
    loaded = safe_load(tmp_path / 'a.pth')
    assert name_of(loaded) == f'Checkpoint {tmp_path / "a.pth"}'
    torch.save(loaded, tmp_path / 'b.pth')
    assert dict(torch.load(tmp_path / 'b.pth', weights_only=True)).keys() == loaded.keys()


@pytest.mark.parametrize('kind', [torch.complex64, torch.bool, torch.int64], ids=str)
def test_another_kind_of_numbers_is_named_by_its_key(kind):
    with pytest.raises(CheckpointError, match=f'weight: expected torch.float32, got {kind}'):
        load_checked(
            nn.Linear(2, 2), dict(nn.Linear(2, 2).state_dict(), weight=torch.ones(2, 2).to(kind))
        )
