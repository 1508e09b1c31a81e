"""What a checkpoint holds, entry by entry: its digest, and whether its numbers are finite."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

DIGEST = 'digest'
"""Key of ``meta`` for the digests, by entry of the checkpoint."""

_WEIGHTS = ('state_dict', 'ema_state_dict', 'optimizer', 'accumulated_gradients')
_SHOWN = 3


def digests(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of every entry of a checkpoint: of its tensors, arrays, numbers and texts.

    In the order of their names, each with its type, shape and bytes; tuples count as lists. The
    digests themselves do not count. An entry is the same after it was written and read, on another
    device, and with another version of NumPy.

    Example:
        >>> one = digests(dict(state_dict=dict(a=torch.ones(2), b=torch.ones(1))))
        >>> one == digests(dict(state_dict=dict(b=torch.ones(1), a=torch.ones(2))))
        True
        >>> one == digests(dict(state_dict=dict(a=torch.ones(2), b=torch.zeros(1))))
        False
    """
    found = {}
    for entry, content in checkpoint.items():
        if entry == 'meta' and isinstance(content, Mapping):
            content = {key: value for key, value in content.items() if key != DIGEST}
        sha = hashlib.sha256()
        for part in _parts(content):
            # with its length, so that no two contents run together to the same bytes
            sha.update(len(part).to_bytes(8, 'little'))
            sha.update(part)
        found[entry] = sha.hexdigest()
    return found


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    if isinstance(value, Tensor):
        yield f'tensor {value.dtype} {tuple(value.shape)}'.encode()
        if value.layout == torch.strided and not value.is_quantized:
            yield _bytes(value)
    elif isinstance(value, Mapping):
        yield b'mapping'
        for key in sorted(value, key=str):
            yield str(key).encode()
            yield from _parts(value[key])
        yield b'end'
    elif isinstance(value, list | tuple):
        yield b'list'
        for child in value:
            yield from _parts(child)
        yield b'end'
    elif isinstance(value, HistoryBuffer):
        yield from _parts(list(value.data))
    elif isinstance(value, np.ndarray):
        yield f'array {value.dtype} {value.shape}'.encode()
        yield value.tobytes() if value.dtype != object else b'objects'
    else:
        yield _plain(value)


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _plain(value: Any) -> bytes:
    if isinstance(value, np.generic):
        value = value.item()
    for kind in (bool, int, float, complex, str):
        # a subclass is written in its own way, which may change
        if isinstance(value, kind):
            return f'{kind.__name__} {kind(value)!r}'.encode()
    return value if isinstance(value, bytes) else type(value).__name__.encode()


def changed(checkpoint: Mapping[str, Any]) -> list[str]:
    """The entries that are not what they were when the file was written; none without digests.

    An entry that was left out, or that came later, is no damage.
    """
    meta = checkpoint.get('meta')
    noted = meta.get(DIGEST) if isinstance(meta, Mapping) else None
    if noted is None:
        return []
    if not isinstance(noted, Mapping):
        return ['meta']
    now = digests({entry: checkpoint[entry] for entry in noted if entry in checkpoint})
    return [entry for entry, digest in now.items() if noted[entry] != digest]


def not_finite(checkpoint: Mapping[str, Any]) -> list[str]:
    """Keys of weights, averages, moments and gradients with NaN or infinity.

    Args:
        checkpoint: A checkpoint, or tensors by name.

    Example:
        >>> not_finite(dict(state_dict=dict(a=torch.ones(2), b=torch.tensor([1, torch.nan]))))
        ['b']
    """
    if 'state_dict' not in checkpoint:
        return _infinite(checkpoint, '')
    return [
        key
        for entry in _WEIGHTS
        for key in _infinite(checkpoint.get(entry), '' if entry == 'state_dict' else f'{entry}.')
    ]


def _infinite(value: Any, name: str) -> list[str]:
    if isinstance(value, Tensor):
        counts = value.is_floating_point() or value.is_complex()
        return [name.rstrip('.')] if counts and not _is_finite(value) else []
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return []
    return [key for name_, child in value.items() for key in _infinite(child, f'{name}{name_}.')]


def _is_finite(tensor: Tensor) -> bool:
    # one such number makes the sum so, which is several times as fast; a sum may also be too large
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def shown(keys: list[str]) -> str:
    """The first of some keys, and how many more there are.

    Example:
        >>> shown(['a', 'b', 'c', 'd'])
        'a, b, c and 1 more'
    """
    rest = len(keys) - _SHOWN
    return ', '.join(keys[:_SHOWN]) + (f' and {rest} more' if rest > 0 else '')
