"""Tiny runs whose ranks shrink."""

from pathlib import Path

from helpers.engine import tiny, train
from mmengine.config import Config

DORA = dict(type='DoRA', rank=6, task_rank=4)


def shrinking(base: Path, rho: float = 0.7, adapter: dict = DORA, **options) -> Config:
    """The tiny config with adapters on two layers a block, which PDRS shrinks every epoch."""
    plugins = [dict(cfg=dict(adapter), targets=['fc1', 'fc2'], lanes='task')]
    pdrs = dict(type='PDRSHook', rho=rho, margin=0)
    return tiny(base, model__backbone__plugins=plugins, train_cfg__val_interval=3,
                default_hooks__pdrs=pdrs, **options)  # fmt: skip


def shrunk_run(base: Path, folder: Path, ema: bool = False, **options):
    """A run of three epochs in ``folder/run``, with its config in ``folder/config.py``."""
    cfg = shrinking(base, **options)
    if ema:
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.3))
    cfg.dump(folder / 'config.py')
    return train(cfg, folder / 'run')
