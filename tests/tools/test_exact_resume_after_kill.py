"""tools/train.py killed within an epoch and resumed ends where an uninterrupted run ends."""

from pathlib import Path

import pytest
import torch
from helpers.engine import CONFIG, call_tool, run_tool, write_base

from mtpeft.checkpoints.files import safe_load

# Three iterations an epoch, updates every second one: an epoch ends within an accumulation.
# Dropout, drop-path, flips, a persistent worker, warm-up and cosine by iteration are in the config.
RUN = """
_base_ = [{config!r}]
model = dict(backbone=dict(backbone=dict(pretrained={base!r})))
optim_wrapper = dict(accumulative_counts=2)
custom_hooks = [
    dict(type='CheckpointGuardHook'),
    dict(type='ReproducibleEpochHook'),
    dict(type='EMAHook', momentum=0.1),
]
vis_backends = []
visualizer = dict(vis_backends=[])
"""
KILLED = """
_base_ = ['./run.py']
custom_imports = dict(imports=['kill_hook'])
default_hooks = dict(kill=dict(type='KillHook'))
"""
HOOK = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 4:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def leaves(value, name=''):
    """Tensors and numbers in nested containers, by path."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, f'{name}.{key}')
    elif isinstance(value, list | tuple):
        for i, child in enumerate(value):
            yield from leaves(child, f'{name}[{i}]')
    elif isinstance(value, torch.Tensor | float | int):
        yield name, value


@pytest.fixture(scope='module')
def finals(tmp_path_factory):
    """The last and the best checkpoint of an uninterrupted and of a killed and resumed run."""
    folder: Path = tmp_path_factory.mktemp('kill')
    base = write_base(folder / 'base.pth')
    (folder / 'run.py').write_text(RUN.format(config=str(CONFIG), base=str(base)))
    (folder / 'killed.py').write_text(KILLED)
    (folder / 'kill_hook.py').write_text(HOOK)
    tool = 'tools/train.py'
    call_tool(tool, folder / 'run.py', '--work-dir', folder / 'whole')
    killed = run_tool(
        tool, folder / 'killed.py', '--work-dir', folder / 'cut', check=False, path=folder
    )
    assert killed.returncode == -9, killed.stderr
    assert (folder / 'cut' / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    call_tool(tool, folder / 'run.py', '--work-dir', folder / 'cut', '--resume')
    return {
        name: (safe_load(next((folder / 'whole').glob(name))),
               safe_load(next((folder / 'cut').glob(name))))
        for name in ('epoch_2.pth', 'epoch_3.pth', 'best_*.pth')
    }  # fmt: skip


@pytest.mark.parametrize('name', ['epoch_2.pth', 'epoch_3.pth', 'best_*.pth'])
@pytest.mark.parametrize('part', ['state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'])
def test_bit_for_bit(finals, name, part):
    whole, cut = finals[name]
    if name.startswith('best') and part in ('optimizer', 'param_schedulers'):
        pytest.skip('the best checkpoint holds no state of the optimizer')
    wanted, got = dict(leaves(whole[part])), dict(leaves(cut[part]))
    assert set(wanted) == set(got) and wanted
    different = [
        key for key, value in wanted.items()
        if not (torch.equal(value, got[key]) if torch.is_tensor(value) else value == got[key])
    ]  # fmt: skip
    assert not different


def test_the_best_score_is_remembered(finals):
    whole, cut = (c['message_hub']['runtime_info'] for c in finals['epoch_3.pth'])
    assert whole['best_score'] == cut['best_score']


def test_losses_and_metrics_are_logged_alike(finals):
    whole, cut = (c['message_hub']['log_scalars'] for c in finals['epoch_3.pth'])
    assert set(whole) == set(cut)
    for name in whole:
        if 'time' not in name:
            assert whole[name].data[0].tolist() == cut[name].data[0].tolist(), name


def test_training_moved_the_weights(finals):
    before, after = finals['epoch_2.pth'][0]['state_dict'], finals['epoch_3.pth'][0]['state_dict']
    assert any(not torch.equal(before[key], after[key]) for key in before)
