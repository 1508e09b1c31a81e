"""What a caller gives to an inferencer, as pictures."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mtpeft.apis.frames import Frames
from mtpeft.apis.inputs import find_inputs, is_many, kind_of

Picture = str | Path | np.ndarray | Image.Image | torch.Tensor
_ALONE = str | Path | np.ndarray | torch.Tensor | Image.Image | bytes | dict


def names_several(given: Any) -> bool:
    """Whether it is the name of a folder, or a pattern of names."""
    return isinstance(given, str | Path) and '://' not in str(given) and is_many(str(given))


def listed(given: Any) -> list[Picture]:
    """All pictures of a list, a folder or a pattern; one picture alone.

    Raises:
        FileNotFoundError: no file fits a pattern.
        ValueError: a folder without pictures; a video, whose frames come one by one.

    Example:
        >>> listed('room.jpg'), listed(['a.jpg', 'b.jpg'])
        (['room.jpg'], ['a.jpg', 'b.jpg'])
    """
    if isinstance(given, list | tuple):
        return list(given)
    if names_several(given):
        return [found.source for found in find_inputs([given]) if found.kind == 'picture']
    if isinstance(given, str | Path) and kind_of(given) == 'video':
        raise ValueError(
            f'{given} is a video. Its frames come one by one: '
            f'for answer in predict.stream({str(given)!r}).'
        )
    return [given]


def one_by_one(given: Any) -> Iterable[Picture]:
    """Pictures as they come: of whatever can be listed, a generator, a video, or a camera.

    Raises:
        DataFileError: a video that cannot be decoded, or a camera that is not there.
    """
    if isinstance(given, int) and not isinstance(given, bool):
        return Frames(given, camera=True)
    if isinstance(given, str | Path) and kind_of(given) == 'video' and Path(given).is_file():
        return _whole(Frames(str(given)))
    if isinstance(given, _ALONE) or not isinstance(given, Iterable):
        return listed(given)
    return given


def _whole(frames: Frames) -> Iterator[np.ndarray]:
    yield from frames
    if frames.problem:
        raise ValueError(f'{frames.problem}.')
