"""A run without an iteration is an error in words; a set smaller than a batch may be drawn from."""

import pytest
from helpers.engine import ROOT, tiny, train, train_in_two_processes
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from mtpeft.apis.preflight import check_config
from mtpeft.apis.train_length import check_length
from mtpeft.utils.fits import ConfigError

WORDS = r'6 pictures, fewer than batch_size=8, and drop_last=True'
CONVERTED = [dict(type='MultiStepLR', milestones=[1], convert_to_iter_based=True)]


@pytest.mark.parametrize('scheduler', [None, CONVERTED])
@pytest.mark.parametrize('loop', ['EpochBasedTrainLoop', 'IterBasedTrainLoop'])
def test_a_set_smaller_than_a_batch(scheduler, loop, tmp_path):
    cfg = tiny()
    cfg.param_scheduler = scheduler
    length = dict(max_epochs=1) if loop.startswith('E') else dict(max_iters=2)
    cfg.train_cfg = dict(type=loop, **length)
    cfg.train_dataloader.update(batch_size=8, drop_last=True)
    with pytest.raises(ConfigError, match=WORDS):
        train(cfg, tmp_path)
    assert not list(tmp_path.glob('*.pth'))


def test_an_endless_sampler_fills_every_batch(tmp_path):
    cfg = tiny()
    cfg.param_scheduler, cfg.val_cfg, cfg.val_dataloader, cfg.val_evaluator = [None] * 4
    cfg.default_hooks.checkpoint.update(save_best=None, by_epoch=False, interval=2)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.train_dataloader.update(batch_size=8, drop_last=True, sampler=dict(type='InfiniteSampler'))
    assert train(cfg, tmp_path).iter == 2


def test_an_epoch_of_an_endless_sampler():
    loader = DataLoader(range(3), batch_size=1, sampler=InfiniteSampler(range(3)))
    with pytest.raises(ConfigError, match='never ends'):
        check_length(loader, by_epoch=True)
    check_length(loader, by_epoch=False)


def test_all_processes_count(tmp_path):
    """Four pictures fill a batch of 4 in one process, and none in each of two."""
    whole = range(4)
    check_length(DataLoader(whole, 4, sampler=DefaultSampler(whole), drop_last=True), True)
    config = tmp_path / 'two.py'
    config.write_text(
        f"_base_ = ['{ROOT}/tests/data/tiny_engine.py']\n"
        'train_dataloader = dict(batch_size=4, drop_last=True, num_workers=0,\n'
        '                        persistent_workers=False, dataset=dict(length=4))\n'
    )
    with pytest.raises(AssertionError, match='4 pictures, 2 for each of 2 processes, fewer than'):
        train_in_two_processes(config, dict(work_dir=str(tmp_path / 'run')))


@pytest.mark.parametrize('split', ['val', 'test'])
def test_an_evaluation_leaves_nothing_out(split):
    cfg = tiny()
    cfg[f'{split}_dataloader'].drop_last = True
    with pytest.raises(ConfigError, match=f'{split}_dataloader.drop_last: expected False'):
        check_config(cfg)
