"""A training without a single iteration is none."""

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mtpeft.utils.fits import ConfigError


def refuse_empty_training(runner: Runner) -> None:
    """Let a runner refuse, when it builds its loop, a data loader that gives no batch.

    MMEngine would train nothing, save "checkpoints" and end well, or stop at an ``assert`` of a
    scheduler. The loop is built at the start of ``train()``, before the schedulers.
    """
    build = runner.build_train_loop

    def checked(loop: Any) -> Any:
        built = build(loop)
        loader = getattr(built, 'dataloader', None)
        if isinstance(loader, DataLoader):
            check_length(loader, isinstance(built, EpochBasedTrainLoop))
        return built

    runner.build_train_loop = checked


def check_length(loader: DataLoader, by_epoch: bool) -> None:
    """Refuse a training loader without a batch, or whose epoch does not end.

    Args:
        loader: Of one process.
        by_epoch: Whether the loop counts epochs.

    Raises:
        ConfigError: the length, the processes, ``batch_size`` and ``drop_last`` are named.

    Example:
        >>> check_length(DataLoader(range(3), batch_size=4, drop_last=True), by_epoch=True)
        Traceback (most recent call last):
        ...
        mtpeft.utils.fits.ConfigError: train_dataloader: not one batch. The data set has 3 ...
    """
    # (the one of a run counts the passes of another)
    sampler = getattr(loader.sampler, 'sampler', loader.sampler)
    if isinstance(sampler, InfiniteSampler):
        if by_epoch:
            raise ConfigError(
                'train_dataloader.sampler: an InfiniteSampler never ends, so neither would the '
                "first epoch. Take DefaultSampler, or train_cfg.type='IterBasedTrainLoop'."
            )
        return  # a set smaller than a batch is drawn from again
    try:
        batches, own = len(loader), len(sampler)
    except TypeError:
        return  # a stream
    if batches > 0:
        return
    number, processes = len(loader.dataset), get_world_size()
    share = f', {own} for each of {processes} processes' if processes > 1 else ''
    raise ConfigError(
        f'train_dataloader: not one batch. The data set has {number} pictures{share}, fewer than '
        f'batch_size={loader.batch_size}, and drop_last={loader.drop_last} leaves out what fills '
        'no batch. Take a smaller batch_size or more pictures, or drop_last=False.'
    )
