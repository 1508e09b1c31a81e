"""Files that say what is in them: whole numbers only, with a digest of every entry."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mtpeft.checkpoints.contents import DIGEST, digests, not_finite, shown
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.utils.atomic import write_atomically


def seal(checkpoint: dict[str, Any], advice: str = '') -> None:
    """Add to ``checkpoint['meta']`` the digests by which a reader finds damage.

    Call it last: what is changed afterwards is refused when the file is read.

    Args:
        checkpoint: What is about to be written.
        advice: What to do about numbers that are not finite.

    Raises:
        CheckpointError: a weight, an average or a moment is NaN or infinite.

    Example:
        >>> checkpoint = dict(state_dict=dict(a=torch.ones(2)))
        >>> seal(checkpoint)
        >>> list(checkpoint['meta']['digest'])
        ['state_dict', 'meta']
    """
    bad = not_finite(checkpoint)
    if bad:
        raise CheckpointError(
            f'Nothing was written: {len(bad)} tensors hold numbers that are not finite: '
            f'{shown(bad)}. {advice}'.rstrip()
        )
    checkpoint.setdefault('meta', {})
    checkpoint['meta'][DIGEST] = digests(checkpoint)


def safetensors_bytes(
    state: Mapping[str, Tensor], meta: Mapping[str, Any], advice: str = ''
) -> bytes:  # fmt: skip
    """A sealed safetensors file of ``state``, with ``meta`` as JSON by key.

    Raises:
        CheckpointError: a tensor is NaN or infinite somewhere.
    """
    # safetensors takes no two tensors of one storage
    tensors = {key: value.detach().contiguous().clone() for key, value in state.items()}
    content = dict(meta=json.loads(json.dumps(dict(meta))), state_dict=tensors)
    seal(content, advice)
    return save(tensors, {key: json.dumps(value) for key, value in content['meta'].items()})


def stamped(path: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Write a checkpoint again as ``out``, with the digests of this version.

    Args:
        path: A file of ``torch.save`` or ``.safetensors``.
        out: The new file, of the same kind.

    Raises:
        CheckpointError: ``path`` cannot be used.

    Example:
        >>> stamped('old.pth', 'new.pth')  # doctest: +SKIP
        PosixPath('new.pth')
    """
    content, out = safe_load(path), Path(out)
    if Path(path).suffix == '.safetensors':
        write_atomically(safetensors_bytes(content['state_dict'], content['meta']), out)
        return out
    seal(content)
    with io.BytesIO() as buffer:
        torch.save(content, buffer)
        write_atomically(buffer.getvalue(), out)
    return out
