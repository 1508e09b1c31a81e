"""Registries of mtpeft, children of MMEngine's roots with scope ``mtpeft``.

``type='mtpeft.X'`` resolves from a config of any OpenMMLab package without ``custom_imports``:
MMEngine imports ``<scope>.registry`` by itself, and every registry below knows where its modules
live.
"""

from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry as _Registry
from mmengine.registry import build_from_cfg

from mtpeft.utils.options import options_of
from mtpeft.utils.suggest import hint


def _build(cfg: dict, registry: _Registry, default_args: dict | None = None) -> Any:
    """``build_from_cfg`` that names the nearest valid type or option.

    Raises:
        KeyError: the type is not registered.
        TypeError: an option is unknown, or a required one is missing.
    """
    check(cfg, registry, default_args)
    return build_from_cfg(cfg, registry, default_args=default_args)


def check(cfg: dict, registry: _Registry, default_args: dict | None = None) -> None:
    """Refuse a config whose type or options ``registry`` does not know, without building it.

    Raises:
        KeyError: the type is not registered.
        TypeError: an option is unknown.
    """
    spec = {**(default_args or {}), **cfg}
    kind = spec.get('type')
    target = kind
    if isinstance(kind, str):
        try:
            target = registry.get(kind)
        except RuntimeError:
            target = None
        if target is None:
            raise KeyError(
                f"type='{kind}' is not registered in {registry.scope}::{registry.name}. "
                + _of_mmseg(kind, registry)
                + hint(kind.split('.')[-1], names_of(registry))
            )
    _check_options(target, spec)


def _of_mmseg(kind: str, registry: _Registry) -> str:
    """That mmsegmentation has one of the name, where it has."""
    if '.' in kind:
        return ''
    try:
        found = registry.get(f'mmseg.{kind}')
    except RuntimeError:
        found = None
    return '' if found is None else f"mmsegmentation has one: 'mmseg.{kind}'. "


def names_of(registry: _Registry) -> list[str]:
    """Names of types that ``registry`` and its parent know."""
    names = list(registry.module_dict)
    return names + list(registry.parent.module_dict) if registry.parent is not None else names


def _check_options(target: Any, spec: dict) -> None:
    """Refuse keyword arguments that ``target`` does not take, before it is called."""
    options = options_of(target)
    given = set(spec) - {'type', '_scope_'}
    for name in sorted(given - set(options.known)) if not options.open else ():
        raise TypeError(
            f"{getattr(target, '__name__', target)} has no option '{name}'. "
            + hint(name, options.known)
        )


class Registry(_Registry):
    """MMEngine's registry with errors that name the nearest valid type or option."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        kwargs.setdefault('scope', 'mtpeft')
        kwargs.setdefault('build_func', _build)
        super().__init__(name, **kwargs)


MODELS = Registry('model', parent=root.MODELS, locations=['mtpeft.models', 'mtpeft.adapters'])
ADAPTERS = Registry('adapter', locations=['mtpeft.adapters'])
TASKS = Registry('task', locations=['mtpeft.tasks'])
DATASETS = Registry('dataset', parent=root.DATASETS, locations=['mtpeft.datasets'])
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, locations=['mtpeft.transforms'])
METRICS = Registry('metric', parent=root.METRICS, locations=['mtpeft.evaluation'])
EVALUATOR = Registry('evaluator', parent=root.EVALUATOR, locations=['mtpeft.evaluation'])
HOOKS = Registry('hook', parent=root.HOOKS, locations=['mtpeft.hooks'])
#: functions that methods of a model call, though they stand on the model: files, the hub
SERVICES = Registry('service', locations=['mtpeft.apis.services'])
VISUALIZERS = Registry('visualizer', parent=root.VISUALIZERS, locations=['mtpeft.visualization'])

DATA_SAMPLERS = _Registry(
    'data sampler', parent=root.DATA_SAMPLERS, scope='mtpeft', locations=['mtpeft.datasets']
)
OPTIM_WRAPPERS = _Registry(
    'optim_wrapper', parent=root.OPTIM_WRAPPERS, scope='mtpeft', locations=['mtpeft.optim']
)
OPTIM_WRAPPER_CONSTRUCTORS = _Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mtpeft',
    locations=['mtpeft.optim'],
)

# Kinds that mtpeft adds nothing to. With default_scope = 'mtpeft' MMEngine looks for a child of
# every root registry and warns, each time it builds something, where there is none. (Without a
# location it would call `mtpeft.utils.register_all_modules`.)
PLAIN = {
    kind: _Registry(
        getattr(root, kind).name, parent=getattr(root, kind), scope='mtpeft', locations=[__name__]
    )
    for kind in (
        'FUNCTIONS', 'INFERENCERS', 'LOG_PROCESSORS', 'LOOPS', 'MODEL_WRAPPERS',
        'OPTIMIZERS', 'PARAM_SCHEDULERS', 'RUNNERS', 'TASK_UTILS', 'VISBACKENDS',
        'WEIGHT_INITIALIZERS',
    )
}  # fmt: skip
