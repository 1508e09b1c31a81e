"""Runs of the Runner on the GPU: number formats, ranks, averages, accumulation, resume, NCCL."""

import pytest
import torch
from helpers.engine import CONFIG, ROOT, run_tool, tiny, train
from tools.test_two_processes_train_and_test import port

from mtpeft.checkpoints.files import safe_load

WRAPPERS = dict(
    float32=dict(),
    bf16=dict(optim_wrapper__type='AutocastOptimWrapper'),
    fp16=dict(optim_wrapper__type='AmpOptimWrapper', optim_wrapper__dtype='float16'),
)
HOOKS = {
    'PDRS': dict(type='PDRSHook', shrink_every=1, by_epoch=True),
    'faar+': dict(type='PDRSPlusHook', shrink_every=1, by_epoch=True),
    'EMA': dict(type='EMAHook'),
}


def finite(path):
    state = safe_load(path)['state_dict']
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    return state


@pytest.mark.parametrize('accumulate', [1, 2])
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_trains_in_every_number_format(wrapper, accumulate, device, tmp_path):
    if wrapper == 'fp16' and device.type == 'cpu':
        pytest.skip('float16 with a scaler needs a GPU')
    cfg = tiny(**WRAPPERS[wrapper], optim_wrapper__accumulative_counts=accumulate)
    runner = train(cfg, tmp_path)
    assert next(runner.model.parameters()).device.type == device.type
    finite(tmp_path / 'epoch_3.pth')


@pytest.mark.parametrize('hook', HOOKS)
def test_hooks(hook, device, tmp_path):
    cfg = tiny(custom_hooks=[HOOKS[hook]])
    train(cfg, tmp_path)
    finite(tmp_path / 'epoch_3.pth')


def test_a_resumed_run_goes_on_where_it_was(device, tmp_path):
    """Kernels of a GPU may add in another order, so to rounding."""
    train(tiny(), tmp_path / 'whole')
    train(tiny(train_cfg__max_epochs=1), tmp_path / 'cut')
    train(tiny(), tmp_path / 'cut', resume=str(tmp_path / 'cut/epoch_1.pth'))
    one, other = (finite(tmp_path / name / 'epoch_3.pth') for name in ('whole', 'cut'))
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_a_compiled_run(device, tmp_path):
    runner = train(tiny(compile=True), tmp_path)
    assert runner.epoch == 3
    finite(tmp_path / 'epoch_3.pth')


def test_nccl_on_one_card(device, tmp_path):
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node=1', f'--master_port={port()}']
    run_tool(*launch, ROOT / 'tools/train.py', CONFIG, '--launcher', 'pytorch', '--work-dir',
             tmp_path, '--cfg-options', 'train_cfg.max_epochs=1')  # fmt: skip
    finite(tmp_path / 'epoch_1.pth')
