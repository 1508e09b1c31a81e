"""PyTorch's fused and foreach AdamW: the run of the plain one, ranks that shrink included."""

import pytest
import torch
from helpers.engine import tiny, train, write_base

from mtpeft.adapters import rank_pattern
from mtpeft.checkpoints.files import safe_load


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def run(base, work_dir, resume=False, **optimizer):
    plugins = [dict(cfg=dict(type='DoRA', rank=6, task_rank=4), targets=['fc1', 'fc2'],
                    lanes='task')]  # fmt: skip
    optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05, eps=1e-3, **optimizer)
    cfg = tiny(base, model__backbone__plugins=plugins, train_cfg__max_epochs=2,
               train_cfg__val_begin=9, optim_wrapper__optimizer=optimizer,
               default_hooks__checkpoint__max_keep_ckpts=3,
               default_hooks__pdrs=dict(type='PDRSHook', rho=0.6))  # fmt: skip
    return train(cfg, work_dir, resume=resume)


@pytest.fixture(scope='module')
def plain(base, tmp_path_factory):
    return run(base, tmp_path_factory.mktemp('plain'))


@pytest.mark.parametrize('kind', ['fused', 'foreach'])
def test_the_same_run_and_it_resumes(base, plain, tmp_path, kind):
    other = run(base, tmp_path / kind, **{kind: True})
    assert all(group[kind] for group in other.optim_wrapper.optimizer.param_groups)
    assert rank_pattern(plain.model) == rank_pattern(other.model)
    assert any(r < 4 for ranks in rank_pattern(plain.model).values() for r in ranks.values())
    found = other.model.state_dict()
    for key, expected in plain.model.state_dict().items():
        torch.testing.assert_close(found[key], expected, rtol=1e-4, atol=1e-6)
    run(base, tmp_path / 'resumed', resume=f'{other.work_dir}/epoch_1.pth', **{kind: True})
    whole, resumed = (safe_load(tmp_path / name / 'epoch_2.pth') for name in (kind, 'resumed'))
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
