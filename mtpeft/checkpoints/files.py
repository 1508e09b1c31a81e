"""Reading checkpoints without ever running the code in them."""

import json
import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtpeft.checkpoints.contents import DIGEST, changed, not_finite, shown
from mtpeft.utils.plain_pickle import plain_content


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: damaged, unsafe, or of another model."""


class Checkpoint(dict):
    """What a checkpoint file holds: ``state_dict``, ``meta`` and more, or tensors by name.

    Attributes:
        source: The file, for messages.
    """

    source = ''

    def __reduce__(self) -> tuple:
        # saved again it is a plain container, which needs no class of ours to be read
        return OrderedDict, (), None, None, iter(self.items())


def name_of(checkpoint: Mapping) -> str:
    """What a message calls a checkpoint: by its file, where that is known.

    Example:
        >>> name_of({})
        'The checkpoint'
    """
    source = getattr(checkpoint, 'source', '')
    return f'Checkpoint {source}' if source else 'The checkpoint'


def safe_load(path: str | os.PathLike, map_location: Any = 'cpu') -> Checkpoint:
    """Read a checkpoint without running any code that the file may hold.

    Tensors, plain containers, and what :func:`~mtpeft.utils.plain_pickle.plain_content` names are
    all that is let in; there is no fallback.

    Args:
        path: A file of ``torch.save`` or ``.safetensors``.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated or damaged, holds anything else, or holds no
            tensors by name.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'Checkpoint {path} does not exist.')
    if path.suffix == '.safetensors':
        return as_checkpoint(_load_safetensors(path, map_location), path)
    try:
        with plain_content():
            data = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL ([\w.]+)', str(error))
        if found is None:
            raise CheckpointError(_damaged(path, error)) from error
        raise CheckpointError(
            f'Checkpoint {path} holds code or objects ({found[1]}) beside tensors and numbers. It '
            'was not loaded and nothing in it was run. If you trust whoever made it, load it '
            "yourself and save its 'state_dict' alone with torch.save."
        ) from error
    except _BROKEN as error:
        raise CheckpointError(_damaged(path, error)) from error
    return as_checkpoint(data, path)


#: what reading a damaged file was seen to raise
_BROKEN = (
    RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError, TypeError, IndexError,
    RecursionError, AssertionError, MemoryError, ImportError,
)  # fmt: skip


def as_checkpoint(data: Any, path: str | os.PathLike) -> Checkpoint:
    """``data`` with its file's name, if it has the form of a checkpoint.

    That is a dict with tensors by name, or one that has such a dict under ``'state_dict'`` and, if
    any, a dict under ``'meta'``.

    Raises:
        CheckpointError: it has another form, is damaged, or holds numbers that are not finite;
            the message says what was found.
    """
    problem = _problem(data)
    if problem:
        raise CheckpointError(
            f"Checkpoint {path}: expected tensors by name, or a dict with them as 'state_dict', "
            f'{problem}. It was not loaded. Use a file that a training, `mtpeft publish` or '
            '`mtpeft merge` wrote.'
        )
    _check_contents(data, path)
    checkpoint = Checkpoint(data)
    checkpoint.source = str(path)
    meta = checkpoint.get('meta')
    if isinstance(meta, Mapping):
        # the digests are of the file, and not of what becomes of its content
        checkpoint['meta'] = {key: value for key, value in meta.items() if key != DIGEST}
    return checkpoint


def _check_contents(data: Mapping, path: str | os.PathLike) -> None:
    """Refuse entries that are not what was written, and numbers that are not finite."""
    damaged = changed(data)
    if damaged:
        raise CheckpointError(
            f'Checkpoint {path} is damaged: {", ".join(damaged)} is not what was written '
            "(meta['digest'] says so). Use another file, or copy this one again. If you changed it "
            "on purpose, remove 'digest' from its meta."
        )
    bad = not_finite(data)
    if bad:
        raise CheckpointError(
            f'Checkpoint {path} was not loaded: {len(bad)} of its tensors hold numbers that are '
            f'not finite: {shown(bad)}. Use a checkpoint from before they came in.'
        )


def _problem(data: Any) -> str:
    """What is wrong with the form of a checkpoint; ``''`` for nothing."""
    if not isinstance(data, Mapping):
        return f'got {_kind(data)}'
    for key in data:
        if not isinstance(key, str):
            return f'got the key {key!r} ({_kind(key)})'
    if 'state_dict' not in data:
        if not any(isinstance(value, Tensor | Mapping) for value in data.values()):
            return f'got no tensor among the keys {sorted(data)[:5]}'
        return ''
    state, meta = data['state_dict'], data.get('meta')
    if not isinstance(state, Mapping):
        return f"got {_kind(state)} as 'state_dict'"
    if not state:
        return "got an empty 'state_dict'"
    if meta is not None and not isinstance(meta, Mapping):
        return f"got {_kind(meta)} as 'meta'"
    for key, value in state.items():
        if not isinstance(key, str):
            return f"got the key {key!r} ({_kind(key)}) in 'state_dict'"
        if not isinstance(value, Tensor) and not key.endswith('_extra_state'):
            return f"got {_kind(value)} as '{key}' of 'state_dict'"
    return ''


def _kind(value: Any) -> str:
    return 'None' if value is None else f'a {type(value).__name__}'


def _damaged(path: Path, error: Exception) -> str:
    first = (re.split(r'\n|\. ', str(error))[0] or type(error).__name__).rstrip('.')
    return (
        f'Checkpoint {path} ({path.stat().st_size} bytes) is truncated, damaged, or no checkpoint '
        f'at all: {first}. Use another file, or copy this one again.'
    )


def _load_safetensors(path: Path, map_location: Any) -> dict:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework='pt', device=str(map_location)) as file:
            meta = {key: _from_json(text) for key, text in (file.metadata() or {}).items()}
            return dict(meta=meta, state_dict={key: file.get_tensor(key) for key in file.keys()})
    except (SafetensorError, *_BROKEN) as error:
        raise CheckpointError(_damaged(path, error)) from error


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
