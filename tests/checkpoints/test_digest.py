"""A file that is not what was written, or holds NaN, is refused with the entry and the key."""

import copy
import json
import math
import random

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors import safe_open

from mtpeft.checkpoints.contents import changed, digests, not_finite
from mtpeft.checkpoints.digest import safetensors_bytes, seal, stamped
from mtpeft.checkpoints.files import CheckpointError, safe_load

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
    torch.bool, torch.complex64,
]  # fmt: skip


def checkpoint():
    """One of a run, with every kind of content that MMEngine's have."""
    torch.manual_seed(0)
    log = HistoryBuffer()
    log.update(1.5)
    parameter = torch.nn.Parameter(torch.randn(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return dict(
        meta=dict(epoch=3, iter=12, cfg='a = 1', dataset_meta=dict(classes=('wall', 'floor')),
                  palette=np.arange(6).reshape(2, 3), score=np.float64(0.25), nothing=None),
        state_dict={
            **{f'layer.{str(d)[6:]}': torch.ones(3, 2).to(d) for d in DTYPES},
            'counter': torch.tensor(3), 'empty': torch.zeros(0, 4),
            'view': torch.randn(4, 6).T[::2],
        },
        ema_state_dict={'module.layer': torch.randn(3)},
        optimizer=optimizer.state_dict(),
        param_schedulers=[dict(last_step=3, base_values=[0.1])],
        message_hub=dict(log_scalars={'train/loss': log}, runtime_info={'best_score': 2.5}),
    )  # fmt: skip


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_written_and_read_it_is_the_same(tmp_path, suffix):
    whole, path = checkpoint(), tmp_path / f'a{suffix}'
    if suffix == '.pth':
        seal(whole)
        torch.save(whole, path)
    else:
        meta = dict(epoch=3, base=dict(a=(1, 2.5)), text='x', ranks={1: 2})
        path.write_bytes(safetensors_bytes(whole['state_dict'], meta))
    read = safe_load(path)
    for key, value in whole['state_dict'].items():
        assert torch.equal(read['state_dict'][key], value), key
    assert 'digest' not in read['meta']  # what is read may be changed and written
    again = stamped(path, tmp_path / f'b{suffix}')
    assert noted(again) == noted(path) and set(noted(path)) == set(read)


def noted(path):
    """The digests in a file."""
    if path.suffix == '.pth':
        return torch.load(path, weights_only=False)['meta']['digest']
    with safe_open(path, framework='pt') as file:
        return json.loads(file.metadata()['digest'])


def test_the_order_of_entries_and_the_storage_do_not_count():
    one = checkpoint()
    other = {key: one[key] for key in reversed(one)}
    other['state_dict'] = {k: v.clone() for k, v in reversed(one['state_dict'].items())}
    assert digests(one) == digests(other)


def spots(value, path=()):
    """The leaves of nested containers, by their path."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        if isinstance(child, dict | list | tuple):
            yield from spots(child, (*path, key))
        else:
            yield *path, key


def other_than(value):
    if isinstance(value, torch.Tensor):
        if not value.numel():
            return value.new_zeros(0, 5)
        value = value.clone()
        value.view(-1)[-1] = ~value.view(-1)[-1] if value.dtype == torch.bool else 2 + value.max(
        ) if not value.is_complex() else 2j  # fmt: skip
        return value
    if isinstance(value, HistoryBuffer):
        value = copy.deepcopy(value)
        value.update(1)
        return value
    if isinstance(value, np.ndarray):
        return value + 1
    return {str: 'other', type(None): 0}.get(type(value), None if value is None else 77)


@pytest.mark.parametrize('spot', [s for s in spots(checkpoint()) if 'view' not in s], ids=str)
def test_any_change_is_found_in_its_entry(spot):
    whole = checkpoint()
    seal(whole)
    place = whole
    for key in spot[:-1]:
        place[key] = list(place[key]) if isinstance(place[key], tuple) else place[key]
        place = place[key]
    place[spot[-1]] = other_than(place[spot[-1]])
    assert changed(whole) == [spot[0]]


@pytest.mark.parametrize('change', ['dtype', 'shape', 'name', 'lost'])
def test_so_are_types_shapes_and_names(change):
    whole = checkpoint()
    seal(whole)
    state = whole['state_dict']
    value = state.pop('layer.float32')
    if change != 'lost':
        key = 'layer.floatXX' if change == 'name' else 'layer.float32'
        state[key] = dict(dtype=value.view(torch.int32), shape=value.view(2, 3), name=value)[change]
    assert changed(whole) == ['state_dict']


def test_a_flipped_bit_is_refused_by_its_entry(tmp_path):
    whole, path = checkpoint(), tmp_path / 'a.pth'
    seal(whole)
    torch.save(whole, path)
    data = bytearray(path.read_bytes())
    place = data.index(whole['ema_state_dict']['module.layer'].numpy().tobytes())
    data[place + 1] ^= 1 << random.Random(0).randrange(8)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=f'{path} is damaged: ema_state_dict is not'):
        safe_load(path)


def test_without_the_optimizer_it_is_still_whole(tmp_path):
    whole = checkpoint()
    seal(whole)
    del whole['optimizer'], whole['message_hub']
    whole['more'] = 1
    torch.save(whole, tmp_path / 'a.pth')
    assert 'optimizer' not in safe_load(tmp_path / 'a.pth')


@pytest.mark.parametrize('digest', [None, 'text', [], 3])
def test_digests_that_are_none(tmp_path, digest):
    whole = dict(checkpoint(), meta=dict(epoch=1, digest=digest))
    torch.save(whole, tmp_path / 'a.pth')
    if digest is None:
        safe_load(tmp_path / 'a.pth')  # as files of earlier versions
        return
    with pytest.raises(CheckpointError, match='is damaged: meta'):
        safe_load(tmp_path / 'a.pth')


@pytest.mark.parametrize('number', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize('key', [
    'layer.float32', 'layer.bfloat16', 'layer.complex64', 'ema_state_dict.module.layer',
    'optimizer.state.0.exp_avg',
])  # fmt: skip
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path, key, number):
    whole = checkpoint()
    entry = key.split('.')[0] if key.split('.')[0] in whole else 'state_dict'
    place = whole[entry]
    if entry == 'optimizer':
        place = place['state'][0]
    name = key.removeprefix(f'{entry}.state.0.').removeprefix(f'{entry}.')
    place[name] = place[name].clone()
    place[name].view(-1)[-1] = number
    assert not_finite(whole) == [key]
    with pytest.raises(CheckpointError, match=f'not finite: {key}. Do this.'):
        seal(whole, 'Do this.')
    torch.save(whole, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'(?s)a.pth was not loaded: 1 .*: {key}. Use'):
        safe_load(tmp_path / 'a.pth')


@pytest.mark.parametrize('values', [[3e38, 3e38], [6e4, 6e4], [float('inf'), float('-inf')]])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_large_numbers_are_finite(values, dtype):
    tensor = torch.tensor(values).to(dtype)
    expected = [] if all(map(math.isfinite, tensor.tolist())) else ['a']
    assert not_finite(dict(a=tensor)) == expected


def test_a_metric_may_be_nan(tmp_path):
    whole = checkpoint()
    whole['message_hub']['runtime_info']['best_score'] = float('nan')
    whole['message_hub']['log_scalars']['train/loss'].update(float('nan'))
    seal(whole)
    torch.save(whole, tmp_path / 'a.pth')
    safe_load(tmp_path / 'a.pth')
