"""What a run changes in its config before MMEngine reads it."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor

from mtpeft.apis.engine_options import DEFAULT_HOOKS
from mtpeft.optim.autocast_wrapper import bf16_supported
from mtpeft.optim.taskwise_constructor import TaskwiseConstructor
from mtpeft.utils.fits import ConfigError
from mtpeft.utils.type_names import type_name

#: options of torch's DataLoader that it refuses where no worker process loads
OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'multiprocessing_context')
AUTO = 'auto'
_PREFETCHED = 4  # batches that each of as many workers as there are cores has ready
_MIXED = ('AmpOptimWrapper', 'ApexOptimWrapper', 'AutocastOptimWrapper')


def without_idle_options(loader: Mapping[str, Any]) -> dict[str, Any]:
    """A data loader's options, without those about workers where it has none.

    Example:
        >>> without_idle_options(dict(batch_size=2, num_workers=0, persistent_workers=True))
        {'batch_size': 2, 'num_workers': 0}
    """
    if loader.get('num_workers', 0) != 0:
        return dict(loader)
    return {key: value for key, value in loader.items() if key not in OF_WORKERS}


def fitted_loader(loader: Mapping[str, Any]) -> dict[str, Any]:
    """A data loader's options with what they leave to the machine.

    ``num_workers='auto'`` becomes a number (:func:`worker_count`); where there is a GPU, batches
    are pinned unless ``pin_memory`` is there; options about workers go where there are none.
    """
    fitted = dict(loader)
    if fitted.get('num_workers') == AUTO:
        fitted['num_workers'] = worker_count()
        fitted.setdefault('prefetch_factor', _PREFETCHED)
    if torch.cuda.is_available():
        fitted.setdefault('pin_memory', True)
    return without_idle_options(fitted)


def fit_loaders(cfg: Config) -> None:
    """:func:`fitted_loader` for every data loader of a config, in place."""
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            fitted = fitted_loader(loader)
            for key in set(loader) - set(fitted):
                del loader[key]
            loader.update(fitted)


def worker_count() -> int:
    """Worker processes of ``num_workers='auto'``, for each loader of each process of a run.

    One for each core that this process may use, divided among the processes of this machine, less
    one for the training itself; at most 16. On a CPU at most 2: a step there takes longer than its
    pictures, and shares its cores with them.
    """
    usable = getattr(os, 'sched_getaffinity', None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    share = cores // max(int(os.environ.get('LOCAL_WORLD_SIZE', '1')), 1)
    return max(0, min(share - 1, 16 if torch.cuda.is_available() else 2))


def drop_hooks(cfg: Config) -> None:
    """Take hooks that were switched off with ``None`` out of ``default_hooks``.

    MMEngine does so for its own six only.
    """
    hooks = cfg.get('default_hooks')
    for name, hook in list(hooks.items()) if isinstance(hooks, Mapping) else ():
        if hook is None and name not in DEFAULT_HOOKS:
            del hooks[name]


def use_task_keys(cfg: Config) -> None:
    """Let ``custom_keys`` name tasks where MMEngine's constructor would build the optimizer."""
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, Mapping) or not (wrapper.get('paramwise_cfg') or {}).get(
        'custom_keys'
    ):
        return
    if type_name(wrapper.get('constructor')) in ('', DefaultOptimWrapperConstructor.__name__):
        wrapper['constructor'] = f'mtpeft.{TaskwiseConstructor.__name__}'


def scale_rate(cfg: Config) -> None:
    """Let MMEngine scale the learning rate to the batch of all processes.

    Raises:
        ConfigError: the config does not say which batch its rate is for.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise ConfigError(
            '--auto-scale-lr: the config does not say which batch its learning rate is for. Set '
            'auto_scale_lr.base_batch_size.'
        )
    cfg.auto_scale_lr.enable = True


def use_amp(cfg: Config) -> None:
    """Let the optimizer wrapper train in mixed precision, or each of several.

    Raises:
        ConfigError: a wrapper of another kind, which would train in float32 all the same.
    """
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ConfigError('--amp: optim_wrapper is missing, so there is nothing to train with.')
    inner = [w for w in wrapper.values() if isinstance(w, Mapping) and 'optimizer' in w]
    for part in inner if inner and 'optimizer' not in wrapper else [wrapper]:
        _use_amp(part)


def _use_amp(wrapper: Any) -> None:
    name = type_name(wrapper) or 'OptimWrapper'
    if name in _MIXED:
        print_log(f'--amp: {name} trains in mixed precision already.', logger='current')
    elif name != 'OptimWrapper':
        raise ConfigError(
            f'--amp: optim_wrapper.type is {name}, of which it is not known how it trains in mixed '
            "precision, so it would stay in float32. Take type='OptimWrapper', or build mixed "
            f'precision into {name} and leave --amp out.'
        )
    elif bf16_supported():
        wrapper['type'] = 'mtpeft.AutocastOptimWrapper'
    else:
        wrapper.update(type='mmengine.AmpOptimWrapper', loss_scale='dynamic')
