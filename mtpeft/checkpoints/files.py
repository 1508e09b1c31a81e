"""Reading checkpoints without ever running the code in them."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_BUFFER_METHODS = {name: getattr(HistoryBuffer, name) for name in ('min', 'max', 'current', 'mean')}


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: damaged, unsafe, or of another model."""


def safe_load(path: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """Read a checkpoint without running any code that the file may hold.

    Tensors, plain containers, NumPy numbers and arrays, and MMEngine's ``HistoryBuffer`` (the
    smoothed log of a run) are all that is let in; there is no fallback.

    Args:
        path: A file of ``torch.save`` or ``.safetensors``.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated or damaged, or holds anything else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'Checkpoint {path} does not exist.')
    if path.suffix == '.safetensors':
        return _load_safetensors(path, map_location)
    try:
        with torch.serialization.safe_globals(_allowed()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL ([\w.]+)', str(error))
        if found is None:
            raise CheckpointError(_damaged(path, error)) from error
        raise CheckpointError(
            f'Checkpoint {path} holds code or objects ({found[1]}) beside tensors and numbers. It '
            'was not loaded and nothing in it was run. If you trust whoever made it, load it '
            "yourself and save its 'state_dict' alone with torch.save."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError) as error:
        raise CheckpointError(_damaged(path, error)) from error


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
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(_damaged(path, error)) from error


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _buffer_method(owner: type, name: str) -> Callable:
    # HistoryBuffer pickles its methods as getattr(HistoryBuffer, 'mean'). The real getattr would
    # let a file reach any attribute of anything it can name.
    if owner is not HistoryBuffer or name not in _BUFFER_METHODS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr ({name})')
    return _BUFFER_METHODS[name]


def _allowed() -> list:
    core = np._core if hasattr(np, '_core') else np.core
    numpy_1 = [
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]
    kinds = ('bool', 'int8', 'uint8', 'int16', 'int32', 'int64', 'uint32', 'float32', 'float64')
    dtypes = {type(np.dtype(kind)) for kind in kinds}
    return [
        HistoryBuffer, (_buffer_method, 'builtins.getattr'), np.ndarray, np.dtype, *dtypes,
        core.multiarray._reconstruct, core.multiarray.scalar, *numpy_1,
    ]  # fmt: skip
