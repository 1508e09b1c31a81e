"""What registries build from a config: types, names and values of options, and a trial.

Classes of mtpeft, MMEngine, torch and timm are checked by their annotations, those of other
packages by the names of their options.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Optional

import torch
from mmengine import registry as root
from mmengine.registry import Registry
from torch.utils.data import DataLoader

import mtpeft.registry as own
from mtpeft.apis.adjust import fitted_loader
from mtpeft.apis.engine_options import KEPT, OPTIMIZER, REFINED, Paramwise
from mtpeft.models.backbones.networks import is_timm, timm_entry
from mtpeft.models.backbones.stage_options import check_stages
from mtpeft.registry import names_of
from mtpeft.utils.fits import (
    ConfigError,
    ConfigKeyError,
    ConfigTypeError,
    check_finite,
    check_fits,
    shown,
)
from mtpeft.utils.kinds import Built, NotNegative
from mtpeft.utils.options import Option, Options, options_of
from mtpeft.utils.suggest import hint
from mtpeft.utils.type_names import type_name

#: packages whose annotations are checked; of others, only the names of options
_TRUSTED = ('mtpeft', 'mmengine', 'torch', 'timm')


def check_built(value: Any, how: Built, place: str) -> None:
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
            check_fits(item, extra[name], f'{place}.{name}', check_built)
        elif name in options.known and _is_trusted(options.known[name].owner):
            annotation = _annotation(options.known[name], how)
            check_fits(item, annotation, f'{place}.{name}', check_built)
        else:
            check_finite(item, f'{place}.{name}')
    if how.registry == 'MODELS' and is_timm(value):
        _check_stages(target, spec, place)
    if how.trial and trusted:
        _try(value, how, place)


def _check_stages(network: Callable, options: Mapping, place: str) -> None:
    try:
        check_stages(network, options)
    except ValueError as error:
        raise ConfigError(f'{place}.{error}') from None


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
    known = option.annotation
    return Optional[known] if option.default is None else known  # noqa: UP007, UP045


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
    options = fitted_loader(cfg)
    DataLoader([0], **{name: value for name, value in options.items() if name not in parts})


_TRIALS = {
    'LOADER': _build_loader,
    'PARAM_SCHEDULERS': _build_scheduler,
    'OPTIMIZERS': _build_optimizer,
    'TASKS': _build_task,
}

#: constructors of one optimizer; others may make several, each with a name of its own
_ONE_OPTIMIZER = ('DefaultOptimWrapperConstructor', 'FlatNoDecayConstructor',
                  'TaskwiseConstructor')  # fmt: skip
_OF_CONSTRUCTOR = ('constructor', 'paramwise_cfg', 'optimizer')


def _check_optim_wrapper(value: Mapping, place: str) -> None:
    """The optimizer is built by the constructor, from what the wrapper's config has."""
    constructor = value.get('constructor', 'DefaultOptimWrapperConstructor')
    if isinstance(constructor, str):
        _registered(constructor, 'OPTIM_WRAPPER_CONSTRUCTORS', f'{place}.constructor')
    elif not callable(constructor):
        check_fits(constructor, str, f'{place}.constructor', check_built)
    known = type_name(constructor) in _ONE_OPTIMIZER
    kind = (Paramwise if known else Mapping) | None
    check_fits(value.get('paramwise_cfg'), kind, f'{place}.paramwise_cfg', check_built)
    if 'optimizer' in value:
        how = Built('OPTIMIZERS', ('params',), trial=True)
        check_built(value['optimizer'], how, f'{place}.optimizer')
        if known:
            _check_keys(value, how, place)
    elif type_name(constructor) in _ONE_OPTIMIZER:
        raise ConfigTypeError(f"{place}: 'optimizer' is missing, got {shown(list(value))}.")


def _check_keys(value: Mapping, how: Built, place: str) -> None:
    """What a custom key sets is a multiple, or an option of the optimizer."""
    target, _ = _resolved(value['optimizer'], how, f'{place}.optimizer')
    valid = ['lr_mult', 'decay_mult', *(n for n in options_of(target).known if n != 'params')]
    for key, options in ((value.get('paramwise_cfg') or {}).get('custom_keys') or {}).items():
        for name, number in options.items():
            at = f"{place}.paramwise_cfg.custom_keys['{key}']"
            if name not in valid:
                raise ConfigTypeError(f"{at}: there is no option '{name}'. {hint(name, valid)}")
            if name in valid[:2]:
                check_fits(number, NotNegative, f'{at}.{name}', check_built)
