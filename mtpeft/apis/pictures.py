"""What a user gives as a picture, as an array: exact, or refused in words that say what to do."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from mtpeft.datasets.files import read_image, to_rgb
from mtpeft.utils.paths import local_path

_EXPECTED = (
    'to be a path, an array (H, W, 3) of uint8 in BGR, a picture of Pillow, or a tensor (3, H, W) '
    'of uint8 in RGB'
)


def picture_file(path: str, exif: bool = False) -> np.ndarray:
    """The picture of a file, ``(H, W, 3)``, uint8, BGR (of ``.npy``: ``(H, W, C)``).

    Args:
        path: The file.
        exif: Turn it as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        DataFileError: the file is no picture that can be read, or a decompression bomb.
        ValueError: an address, or a folder.
    """
    place = Path(local_path(path))
    if place.is_dir():
        raise ValueError(
            f'{path} is a folder, expected a picture. Give a list of its files, such as '
            f"sorted(Path({path!r}).glob('*.jpg'))."
        )
    if not place.is_file():
        raise FileNotFoundError(f'{path}: no such file (looked from {Path.cwd()}).')
    return read_image(path, exif)


def pixels(picture: Any, index: int, channels: int = 3, exif: bool = False) -> np.ndarray:
    """A picture that is in memory, ``(H, W, 3)``, uint8, BGR.

    Args:
        picture: A picture of Pillow (brought to RGB), an array or a tensor.
        index: Its place, for messages.
        channels: Another number than 3: an array ``(H, W, channels)`` of numbers.
        exif: Turn a picture of Pillow as its EXIF orientation says.

    Raises:
        ValueError: another type, shape or kind of numbers, or no pixels.
    """
    if channels != 3:
        return _of_channels(picture, index, channels)
    if isinstance(picture, Image.Image):
        picture = ImageOps.exif_transpose(picture) if exif else picture
        picture = np.asarray(to_rgb(picture, f'Picture {index}'))[..., ::-1]
    elif isinstance(picture, torch.Tensor):
        picture = _of_tensor(picture, index)
    elif not isinstance(picture, np.ndarray):
        raise ValueError(
            f'Expected picture {index} {_EXPECTED}, got {type(picture).__name__}.'
            + _way_out(picture)
        )
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f'Expected picture {index} {_EXPECTED}, got an array {picture.shape} of '
            f'{picture.dtype}. {_mend(picture)}'
        )
    if not picture.size:
        raise ValueError(f'Picture {index} is empty: {picture.shape[0]} x {picture.shape[1]}.')
    return np.ascontiguousarray(picture)


def reduced(picture: np.ndarray, longest: int) -> np.ndarray:
    """A picture ``(H, W, C)`` whose longer side has at most ``longest`` pixels.

    Example:
        >>> reduced(np.zeros((6000, 8000, 3), np.uint8), 1280).shape
        (960, 1280, 3)
    """
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _of_channels(picture: Any, index: int, channels: int) -> np.ndarray:
    fits = isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[2] == channels
    if not fits or not picture.size or picture.dtype.kind not in 'uif':
        got = f'{picture.shape} of {picture.dtype}' if isinstance(picture, np.ndarray) else ''
        raise ValueError(
            f'Expected picture {index} to be an array (H, W, {channels}) of numbers, or the path '
            f'of one as .npy, since the model takes {channels} channels; got '
            f'{got or type(picture).__name__}.'
        )
    return np.ascontiguousarray(
        picture if picture.dtype == np.uint8 else picture.astype(np.float32)
    )  # fmt: skip


def _of_tensor(picture: torch.Tensor, index: int) -> np.ndarray:
    if picture.ndim != 3 or picture.shape[0] != 3 or picture.dtype != torch.uint8:
        raise ValueError(
            f'Expected picture {index} {_EXPECTED}, got a tensor {tuple(picture.shape)} of '
            f'{picture.dtype}. A batch of pictures is a list: list(batch). For (H, W, 3) in BGR '
            'give picture.numpy(), and numbers of 0 to 1 as (255 * picture).round().byte().'
        )
    return picture.cpu().numpy()[::-1].transpose(1, 2, 0)


def _way_out(picture: Any) -> str:
    if isinstance(picture, bytes | bytearray | memoryview):
        return ' Decode it first: Image.open(io.BytesIO(data)).'
    if hasattr(picture, '__iter__'):
        return ' Several pictures are given as a list: list(pictures).'
    return ''


def _mend(picture: np.ndarray) -> str:
    if picture.ndim == 4:
        return 'Several pictures are given as a list: list(pictures).'
    if picture.ndim == 2:
        return 'A grey picture of uint8: np.dstack([picture] * 3).'
    if picture.ndim == 3 and picture.shape[2] == 4:
        return 'Without its fourth channel: picture[..., :3].'
    return 'Numbers of 0 to 1: (255 * picture).round().astype(np.uint8).'
