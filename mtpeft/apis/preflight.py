"""Mistakes in a config that can be named before anything is built.

One walk over the config compares everything that the Runner, torch and our classes build with the
signatures of what is built: names of options, types at any depth, choices and bounds
(:mod:`mtpeft.utils.options`, :mod:`mtpeft.utils.fits`). What is cheap is then built once, on trial,
so that what a class itself refuses has its place in the config, too.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Optional

import torch
from mmengine import registry as root
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry
from torch.utils.data import DataLoader

import mtpeft.registry as own
from mtpeft.apis.engine_options import KEPT, OPTIMIZER, REFINED, RUN
from mtpeft.apis.tasks_agree import check_best, check_tasks
from mtpeft.models.backbones.networks import is_timm, timm_entry
from mtpeft.registry import names_of
from mtpeft.utils.fits import (
    ConfigError,
    ConfigKeyError,
    ConfigTypeError,
    check_finite,
    check_fits,
    shown,
)
from mtpeft.utils.kinds import Built
from mtpeft.utils.options import Option, Options, options_of
from mtpeft.utils.suggest import hint, nearest

#: packages whose annotations are checked; of others, only the names of options
_TRUSTED = ('mtpeft', 'mmengine', 'torch', 'timm')


def check_config(cfg: Config) -> None:
    """Check what the Runner builds: types, options and their values, and that its parts agree.

    Configs of another default scope are left to their own package.

    Args:
        cfg: The whole config.

    Raises:
        ConfigError: a mistake; its place in the config, what was expected, what came and the
            nearest names are given. An unknown type is a ``KeyError`` as well, an unknown option
            or a value of another type a ``TypeError``.
    """
    values = cfg.to_dict()
    if _scope(values) != 'mtpeft':
        return
    with DefaultScope.overwrite_default_scope('mtpeft'):
        _check_data_root(values)
        _check_names(values)
        for name, annotation in RUN.items():
            if name in values:
                check_fits(values[name], annotation, name, _check_built)
        _check_parts(values)
        check_tasks(values)
        check_best(values)
        _check_load_from(values)


def _scope(cfg: Mapping) -> str:
    """The package whose names the config means."""
    scope = cfg.get('default_scope', 'mtpeft')
    check_fits(scope, str, 'default_scope', _check_built)
    known = {'mmengine', 'mtpeft', *root.MODELS.children, *root.HOOKS.children}
    if scope not in known and not (scope.isidentifier() and find_spec(scope)):
        raise ConfigKeyError(
            f"default_scope: expected the name of an installed package, got '{scope}'. "
            + hint(scope, known)
        )
    return scope


def _check_data_root(cfg: Mapping) -> None:
    """The variable at the top of a file of a data set is read before --cfg-options are applied."""
    found = {
        f'{split}_dataloader.dataset.data_root': cfg[f'{split}_dataloader'].get('dataset')
        for split in ('train', 'val', 'test')
        if isinstance(cfg.get(f'{split}_dataloader'), Mapping)
    }
    found = {key: d.get('data_root') for key, d in found.items() if isinstance(d, Mapping)}
    found = {key: data for key, data in found.items() if data is not None}
    data = cfg.get('data_root')
    if data is None or not found or data in found.values():
        return
    options = ' '.join(f'{key}={data}' for key in found)
    raise ConfigError(
        f"data_root='{data}' changes nothing: the data sets have "
        f'{", ".join(sorted(set(map(repr, found.values()))))}, since the variable was read before '
        f'the option was set. Give --cfg-options {options}, or make a link.'
    )


def _check_names(cfg: Mapping) -> None:
    """A name that the Runner does not read, but nearly one that is missing, is a slip."""
    for name in cfg:
        missing = [key for key in RUN if key not in cfg]
        close = nearest(name, missing, cutoff=0.8) if name not in RUN else []
        if close:
            raise ConfigKeyError(
                f"{name}: nothing reads this. Did you mean '{close[0]}'? A variable of your own "
                'needs another name.'
            )
    if 'model' not in cfg and any(name.endswith('_dataloader') for name in cfg):
        raise ConfigKeyError(f'model: missing. {hint("model", cfg)}')


def _check_parts(cfg: Mapping) -> None:
    """What the Runner wants whole or not at all."""
    groups = [('train_dataloader', 'train_cfg', 'optim_wrapper')]
    groups += [tuple(f'{s}_{part}' for part in ('dataloader', 'cfg', 'evaluator'))
               for s in ('val', 'test')]  # fmt: skip
    for group in groups:
        there = [name for name in group if cfg.get(name) is not None]
        if there and len(there) < len(group):
            absent = [name for name in group if name not in there]
            raise ConfigError(
                f'{", ".join(absent)}: missing, while {", ".join(there)} '
                f'{"is" if len(there) == 1 else "are"} there. The Runner needs all of them, or '
                'none.'
            )
    if cfg.get('param_scheduler') is not None and cfg.get('optim_wrapper') is None:
        raise ConfigError('optim_wrapper: missing, while param_scheduler is there.')


def _check_load_from(cfg: Mapping) -> None:
    path = cfg.get('load_from')
    if path and '://' not in path and not Path(path).expanduser().exists():
        raise ConfigError(f"load_from: there is no file '{path}'.")


# -- what registries build -------------------------------------------------------------------------


def _check_built(value: Any, how: Built, place: str) -> None:
    """Check a dict that a registry builds; what has been built is taken as it is."""
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, (str, bytes, bool, int, float, list, tuple, set)):
            raise ConfigTypeError(f'{place}: expected a dict with `type`, got {shown(value)}.')
        return
    target, spec = _resolved(value, how, place)
    if target is None:
        return
    options = _with_kept(options_of(target))
    trusted = _is_trusted(target)
    extra = dict(how.extra)
    _check_option_names(target, options, spec, how, place)
    for name, item in spec.items():
        if name in extra:
            check_fits(item, extra[name], f'{place}.{name}', _check_built)
        elif trusted and name in options.known:
            annotation = _annotation(options.known[name], how)
            check_fits(item, annotation, f'{place}.{name}', _check_built)
        else:
            check_finite(item, f'{place}.{name}')
    if how.trial and trusted:
        _try(value, how, place)


def _resolved(value: Mapping, how: Built, place: str) -> tuple[Callable | None, dict[str, Any]]:
    """The class that a dict builds, and its options."""
    spec = {k: v for k, v in value.items() if k not in ('type', '_scope_')}
    kind = value.get('type', _default_type(value, how, place))
    if how.registry == 'LOADER':
        return DataLoader, spec
    if how.registry == 'LOOPS' and 'type' not in value:
        spec.pop('by_epoch', None)
    if kind is None:
        raise ConfigTypeError(
            f'{place}: expected a dict with `type`, which names what to build; got '
            f'{shown(dict(value))}.'
        )
    if how.registry == 'MODELS' and is_timm(value):
        return _named(timm_entry, kind, place), spec
    if how.registry == 'OPTIM_WRAPPERS':
        _check_optim_wrapper(value, place)
        spec = {k: v for k, v in spec.items() if k not in _OF_CONSTRUCTOR}
        if 'optimizer' not in value:
            return None, spec
    if callable(kind):
        return kind, spec
    if not isinstance(kind, str):
        raise ConfigTypeError(f'{place}.type: expected a name, got {shown(kind)}.')
    return _registered(kind, how.registry, place), spec


def _default_type(value: Mapping, how: Built, place: str) -> str | None:
    if how.registry == 'TASKS' and how.default is not None:
        return place.rsplit('.', 1)[-1]
    if how.registry == 'LOOPS' and how.default == 'train':
        loops = {True: 'EpochBasedTrainLoop', False: 'IterBasedTrainLoop'}
        return loops[value['by_epoch']] if value.get('by_epoch') in (True, False) else None
    if how.registry == 'EVALUATOR' and 'metrics' not in value:
        return None
    return how.default


def _registered(kind: str, name: str, place: str) -> Callable:
    registry: Registry = getattr(own, name, None) or own.PLAIN.get(name) or getattr(root, name)
    if '.' not in kind:
        registry.import_from_location()
    found = _named(registry.get, kind, place, RuntimeError, ImportError)
    if found is None:
        raise ConfigKeyError(
            f"{place}: type='{kind}' is not registered in {registry.scope}::{registry.name}. "
            + hint(kind.split('.')[-1], names_of(registry))
        )
    return found


def _named(function: Callable, kind: str, place: str, *unknown: type[Exception]) -> Any:
    """What ``function`` finds for a type, ``None`` for an error among ``unknown``."""
    try:
        return function(kind)
    except unknown:
        return None
    except KeyError as error:
        raise ConfigKeyError(f'{place}: {error.args[0]}') from None


def _check_option_names(
    target: Callable, options: Options, spec: Mapping, how: Built, place: str
) -> None:
    valid = [*options.known, *dict(how.extra)]
    title = getattr(target, '__name__', target)
    for name in spec if not options.open else ():
        if name not in valid:
            taken = [v for v in valid if v not in how.given and v != 'self']
            raise ConfigTypeError(
                f"{place}: {title} has no option '{name}'. {hint(str(name), taken)}"
            )
    needed = [name for name, option in options.known.items() if option.required]
    needed = [*how.needs, *(needed if _is_trusted(target) else ())]
    for name in dict.fromkeys(needed):
        if name not in spec and name not in how.given:
            raise ConfigTypeError(f"{place}: {title} needs '{name}', got {shown(list(spec))}.")


def _with_kept(options: Options) -> Options:
    """The same with what a class of MMEngine keeps of ``**kwargs``, where that is known."""
    kept = KEPT.get(getattr(options.keeper, '__name__', '')) if options.open else None
    if kept is None:
        return options
    others = {
        name: replace(option, default=None)
        for name, option in options_of(kept).known.items()
        if name not in options.known and name not in ('self', 'out_dir', 'filename')
    }
    return Options({**options.known, **others})


def _annotation(option: Option, how: Built) -> Any:
    """The annotation of an option, or what is known better; a default fits as well."""
    if how.registry == 'OPTIMIZERS' and option.name in OPTIMIZER:
        return OPTIMIZER[option.name]
    better = REFINED.get(getattr(option.owner, '__name__', ''), {})
    if option.name in better:
        return better[option.name]
    # (an annotation may leave out the None of its default)
    return Optional[option.annotation] if option.default is None else option.annotation  # noqa: UP007


def _is_trusted(target: Callable) -> bool:
    return str(getattr(target, '__module__', '')).split('.')[0] in _TRUSTED


# -- what is tried ---------------------------------------------------------------------------------


def _try(value: Mapping, how: Built, place: str) -> None:
    """Build something cheap, so that what its class refuses has its place."""
    cfg = copy.deepcopy(dict(value))
    for name in dict(how.extra):
        cfg.pop(name, None)
    try:
        _TRIALS.get(how.registry, _build)(cfg, how, place)
    except (OSError, ConfigError):
        raise
    except Exception as error:
        kinds = {KeyError: ConfigKeyError, TypeError: ConfigTypeError}
        kind = next((new for old, new in kinds.items() if isinstance(error, old)), ConfigError)
        raise kind(f'{place}: {error.args[0] if error.args else type(error).__name__}') from error


def _build(cfg: dict, how: Built, place: str) -> None:
    registry = getattr(own, how.registry, None) or getattr(root, how.registry)
    cfg.setdefault('type', how.default)
    registry.build(cfg)


def _build_scheduler(cfg: dict, how: Built, place: str) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    root.PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=optimizer))


def _build_optimizer(cfg: dict, how: Built, place: str) -> None:
    root.OPTIMIZERS.build(cfg, default_args=dict(params=[torch.nn.Parameter(torch.zeros(1))]))


def _build_task(cfg: dict, how: Built, place: str) -> None:
    name = place.rsplit('.', 1)[-1]
    if how.default is not None:
        cfg = {'type': name, 'name': name, **cfg}
    own.TASKS.build(cfg)


def _build_loader(cfg: dict, how: Built, place: str) -> None:
    """torch's DataLoader without what the Runner builds for it; no worker starts."""
    parts = ('dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn')
    DataLoader([0], **{name: value for name, value in cfg.items() if name not in parts})


_TRIALS = {
    'LOADER': _build_loader,
    'PARAM_SCHEDULERS': _build_scheduler,
    'OPTIMIZERS': _build_optimizer,
    'TASKS': _build_task,
}

#: constructors of one optimizer; others may make several, each with a name of its own
_ONE_OPTIMIZER = ('DefaultOptimWrapperConstructor', 'FlatNoDecayConstructor')
_OF_CONSTRUCTOR = ('constructor', 'paramwise_cfg', 'optimizer')


def _check_optim_wrapper(value: Mapping, place: str) -> None:
    """The optimizer is built by the constructor, from what the wrapper's config has."""
    constructor = value.get('constructor', 'DefaultOptimWrapperConstructor')
    if isinstance(constructor, str):
        _registered(constructor, 'OPTIM_WRAPPER_CONSTRUCTORS', f'{place}.constructor')
    else:
        check_fits(constructor, str, f'{place}.constructor', _check_built)
    check_fits(value.get('paramwise_cfg'), Mapping | None, f'{place}.paramwise_cfg', _check_built)
    if 'optimizer' in value:
        how = Built('OPTIMIZERS', ('params',), trial=True)
        _check_built(value['optimizer'], how, f'{place}.optimizer')
    elif not isinstance(constructor, str) or constructor.split('.')[-1] in _ONE_OPTIMIZER:
        raise ConfigTypeError(f"{place}: 'optimizer' is missing, got {shown(list(value))}.")
