"""Which types the config inside of a file may name: classes of known packages, by registered name.

MMEngine's ``Registry.get`` imports any module that a dotted type names, and calls what it finds
there. So the names are looked up here first, where nothing is imported for them.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import mmengine.registry as root
from mmengine.registry import Registry
from timm.models import is_model

import mtpeft.registry as own
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.utils.suggest import hint

_PACKAGES = ('mtpeft', 'mmengine', 'mmcv', 'mmseg', 'torch', 'timm')
_SCOPES = ('mtpeft', 'mmengine', 'mmcv', 'mmseg')
_OWN = ('MODELS', 'ADAPTERS', 'TASKS', 'METRICS', 'TRANSFORMS')
_FOREIGN = ('MODELS', 'TRANSFORMS', 'TASK_UTILS')
#: they load what files or hubs hold by options of their own
_REFUSED = ('VPD', 'TIMMBackbone', 'ClipTextEncoder')
_WITH_LANES = ('AdapterBackbone', 'TADFormerBackbone', 'AdaptedNetwork')
_TIMM = re.compile(r'timm\.(\w+)(\.\w+)?')


def type_of(target: Callable, place: str) -> str:
    """The registered name of a class or function that a config of Python names by itself.

    Raises:
        CheckpointError: it has none.

    Example:
        >>> from mtpeft.adapters import LoRA
        >>> type_of(LoRA, 'model.backbone.plugins[0].cfg.type')
        'LoRA'
    """
    for scope, registry in _registries(True):
        for name, found in registry.module_dict.items():
            if found is target:
                return name if scope in ('', 'mtpeft') else f'{scope}.{name}'
    raise CheckpointError(
        f'{place}: {getattr(target, "__qualname__", target)} of '
        f'{getattr(target, "__module__", "?")} is registered nowhere, so a file cannot name it.'
    )


def check_types(config: Mapping) -> None:
    """Refuse types that are none of the known packages.

    Raises:
        CheckpointError: such a type; its place and the nearest names are given.

    Example:
        >>> check_types(dict(model=dict(type='os.system')))
        Traceback (most recent call last):
        ...
        mtpeft.checkpoints.files.CheckpointError: model.type: 'os.system' is no type ...
    """
    for kind, place in _types(config, ''):
        _check(kind, place)


def _types(value: Any, place: str) -> Iterator[tuple[Any, str]]:
    """All types of a config, also those that are said by the key of a task."""
    if isinstance(value, Mapping):
        if 'type' in value:
            yield value['type'], f'{place}.type'
        for key, child in value.items():
            at = f'{place}.{key}' if place else key
            if key == 'tasks' and not _has_names(value):
                yield from _of_tasks(child, at)
            yield from _types(child, at)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _types(child, f'{place}[{number}]')


def _has_names(part: Mapping) -> bool:
    """Are the tasks of a part names of its lanes, of which nothing is built?"""
    kind = part.get('type')
    return isinstance(kind, str) and kind.removeprefix('mtpeft.') in _WITH_LANES


def _of_tasks(tasks: Any, place: str) -> Iterator[tuple[Any, str]]:
    """Tasks are built of their names where they have no type."""
    if isinstance(tasks, Mapping):
        for name, options in tasks.items():
            at = f'{place}.{name}'
            if isinstance(options, str):
                yield options, at
            elif isinstance(options, Mapping) and 'type' not in options:
                yield name, at
    elif isinstance(tasks, list):
        yield from ((t, f'{place}[{i}]') for i, t in enumerate(tasks) if isinstance(t, str))


def _check(kind: Any, place: str) -> None:
    text = str(kind)
    timm = _TIMM.fullmatch(text)
    if timm and is_model(timm[1]):
        return
    scope, _, name = text.rpartition('.')
    found = _find(name) if isinstance(kind, str) and scope in ('', *_SCOPES) else None
    if found is not None:
        return
    names = {n for _, registry in _registries() for n in registry.module_dict if _find(n)}
    raise CheckpointError(
        f'{place}: {kind!r} is no type that a file may name: a registered one of mtpeft, MMEngine, '
        f'mmcv or mmsegmentation, or a model of timm. {hint(name, names)}'
    )


def _find(name: str) -> Any:
    """What is registered as ``name`` by one of the known packages; ``None``: nothing."""
    for with_mmseg in (False, True):
        for _, registry in _registries(with_mmseg):
            found = registry.module_dict.get(name)
            if found is not None and name not in _REFUSED and _is_known(found, registry):
                return found
    return None


def _is_known(found: Any, registry: Registry) -> bool:
    package = str(getattr(found, '__module__', '')).split('.')[0]
    ours = package == 'mtpeft' or registry is own.TASKS
    return package in _PACKAGES and (ours or inspect.isclass(found))


def _registries(with_mmseg: bool = False) -> Iterator[tuple[str, Registry]]:
    """Registries, each with the scope that its names are written with."""
    for kind in _OWN:
        registry = getattr(own, kind)
        registry.import_from_location()
        yield 'mtpeft', registry
    for kind in _FOREIGN:
        yield '', getattr(root, kind)
    for kind in _FOREIGN if with_mmseg else ():
        registry = getattr(import_module('mmseg.registry'), kind)
        registry.import_from_location()
        yield 'mmseg', registry
