"""What a run changes in its config before MMEngine reads it."""

from collections.abc import Mapping
from typing import Any

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


def fit_loaders(cfg: Config) -> None:
    """Take options about workers off data loaders without any, which torch would refuse."""
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            for key in set(loader) - set(without_idle_options(loader)):
                del loader[key]


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
