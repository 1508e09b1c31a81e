"""tools/dist_train.sh and dist_test.sh with two processes on the CPU."""

import json
import socket

import pytest
from helpers.engine import CONFIG, call_tool, run_tool, write_base

from mtpeft.checkpoints.files import safe_load

HOOK = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mtpeft.utils.dist import unwrap


@HOOKS.register_module()
class RankHook(Hook):
    def after_train(self, runner):
        torch.save(dict(unwrap(runner.model).state_dict(), iter=runner.iter),
                   f'{runner.work_dir}/rank_{get_rank()}.pt')
"""


def port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run of two processes, three iterations an epoch, validated on an uneven split of three."""
    folder = tmp_path_factory.mktemp('two')
    base = write_base(folder / 'base.pth')
    (folder / 'rank_hook.py').write_text(HOOK)
    (folder / 'run.py').write_text(
        f'_base_ = [{str(CONFIG)!r}]\n'
        f'model = dict(backbone=dict(backbone=dict(pretrained={str(base)!r})))\n'
        "custom_imports = dict(imports=['rank_hook'])\n"
        "default_hooks = dict(rank=dict(type='RankHook'))\n"
        'train_dataloader = dict(num_workers=0, persistent_workers=False,\n'
        '                        dataset=dict(length=12))\n'
        'train_cfg = dict(max_epochs=2)\n'
    )
    run_tool(
        'tools/dist_train.sh', folder / 'run.py', 2, '--work-dir', folder / 'work', path=folder,
        PORT=port(),
    )  # fmt: skip
    return folder


def test_both_processes_end_with_the_same_weights(folder):
    first, second = (safe_load(folder / 'work' / f'rank_{rank}.pt') for rank in range(2))
    assert first.pop('iter') == second.pop('iter') == 6
    assert set(first) == set(second)
    assert [key for key in first if not first[key].equal(second[key])] == []
    saved = safe_load(folder / 'work' / 'epoch_2.pth')['state_dict']
    assert [key for key in saved if not saved[key].equal(first[key])] == []


def test_one_checkpoint_one_result(folder, monkeypatch):
    checkpoint = folder / 'work' / 'epoch_2.pth'
    common = [folder / 'run.py', checkpoint]
    run_tool('tools/dist_test.sh', *common, 2, '--out', folder / 'two.json', '--work-dir',
             folder / 'test', path=folder, PORT=port())  # fmt: skip
    monkeypatch.syspath_prepend(folder)
    call_tool('tools/test.py', *common, '--out', folder / 'one.json', '--show-dir',
              folder / 'shown', '--work-dir', folder / 'test')  # fmt: skip
    one, two = (json.loads((folder / f'{n}.json').read_text()) for n in ('one', 'two'))
    # details too: scores of single pictures, classes, confusion matrices
    assert {'semseg/mIoU', 'depth/rmse', 'mtl/delta_m', 'details'} <= set(one)
    assert len(one['details']['tasks']['depth']['scores']) == 3
    for key in one.keys() | two.keys():
        if 'time' not in key:
            assert one[key] == two[key], key
    assert len(list((folder / 'shown').glob('*.png'))) == 3
