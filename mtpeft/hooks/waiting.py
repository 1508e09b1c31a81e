"""Trainings that wait for their data."""

import os
from collections.abc import Sized

from mmengine.runner import Runner

_SHARE = 0.2
_WINDOW = 50  # iterations that are looked at
_SETTLED = 500  # iterations after which also a first pass over the data has settled


class WaitingForData:
    """Says once that loading takes more than a fifth of the time, and what to do about it.

    The last 50 iterations decide, after the first pass over the data (or 500 iterations of it),
    in which caches fill and workers start.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._said = False

    def look(self, runner: Runner) -> None:
        """After an iteration of training."""
        self._steps += 1
        loader = runner.train_dataloader
        batches = len(loader) if isinstance(loader, Sized) else _SETTLED
        begin = min(batches, _SETTLED)
        if self._said or self._steps < begin + _WINDOW or (self._steps - begin) % _WINDOW:
            return
        scalars = runner.message_hub.log_scalars
        if 'train/time' not in scalars or 'train/data_time' not in scalars:
            return
        data, step = (scalars[f'train/{name}'].mean(_WINDOW) for name in ('data_time', 'time'))
        if data > _SHARE * step:
            self._said = True
            workers = getattr(loader, 'num_workers', 0)
            runner.logger.warning(
                f'The model waits for its data {data / step:.0%} of the time ({data:.3f} of '
                f'{step:.3f} s an iteration). {_more_workers(workers)} `mtpeft data bench` with '
                'this config shows what takes the time; `mtpeft data cache` keeps labels that '
                'are slow to read (docs/speed.md).'
            )


def _more_workers(workers: int) -> str:
    cores = os.cpu_count() or 1
    if workers < cores:
        return (
            f'train_dataloader.num_workers is {workers}, and this machine has {cores} cores: '
            "raise it, or let 'auto' choose."
        )
    return f'train_dataloader.num_workers is {workers} on {cores} cores: more will not help.'
