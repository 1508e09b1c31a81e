"""Reading pictures and labels; a file that cannot be read is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mtpeft.datasets.errors import DataFileError
from mtpeft.utils.suggest import hint

_PICTURES = ('.png', '.tif', '.tiff', '.bmp', '.pgm', '.ppm', '.pnm')
_LOSSY = ('.jpg', '.jpeg', '.webp')
#: modes of Pillow whose numbers are exactly those of the file
_EXACT = ('1', 'L', 'P', 'I', 'F', 'RGB')
_TURNED = 0x0112  # the EXIF tag of the orientation


def read_image(path: str | Path, exif: bool = False) -> np.ndarray:
    """A picture ``(H, W, 3)``, uint8, BGR; of an ``.npy`` file ``(H, W, C)``.

    Grey and palette pictures become colours. An array of any number of channels keeps its values
    (uint8, else as float32); its first three channels are taken for R, G, B.

    Args:
        path: The file.
        exif: Turn the picture as its EXIF orientation says, as viewers do. Labels have none, so
            those that were drawn on the stored pixels need it off.

    Raises:
        FileNotFoundError, DataFileError: naming the file; more than 8 bits, or transparency.
    """
    if Path(path).suffix.lower() == '.npy':
        return _channels(read_array(path), path)
    # Pillow, because OpenCV fills the rest of a truncated JPEG with grey and says nothing
    rgb = np.asarray(to_rgb(_reading(path, lambda p: _opened(p, exif)), str(path)))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)


def to_rgb(picture: Image.Image, source: str) -> Image.Image:
    """A picture of Pillow in 8-bit colours.

    Raises:
        DataFileError: it has more than 8 bits a channel, or transparent pixels.
    """
    mode = picture.mode
    if mode[0] in 'IF':
        raise DataFileError(
            f'{source}: is a grey picture of more than 8 bits (mode {mode}), of which 8 bits would '
            'be white. Convert it to 8 bits, or save its values with np.save as .npy.'
        )
    if 'A' in mode.upper().replace('LAB', '') or 'transparency' in picture.info:
        alpha = np.asarray(picture.convert('RGBA'))[..., 3]
        if (alpha != 255).any():
            raise DataFileError(
                f'{source}: {(alpha != 255).mean():.1%} of the pixels are transparent (mode '
                f'{mode}), whose colour nobody sees. Put the picture on a background; channels '
                'beside the colours come as .npy.'
            )
    return picture.convert('RGB')


def turned_by_exif(path: str | Path) -> bool:
    """Whether EXIF says that rows of the stored picture are columns of what people see."""
    if Path(path).suffix.lower() == '.npy' or not Path(path).is_file():
        return False
    return _reading(path, lambda p: Image.open(p).getexif().get(_TURNED, 1)) in (5, 6, 7, 8)


def read_array(path: str | Path, palette: bool = True) -> np.ndarray:
    """An array from ``.npy``, or from a lossless picture file exactly as it is stored.

    That is bool for black and white, the indices of a palette, uint8, uint16 (grey or colours),
    int32 or float32.

    Args:
        path: The file.
        palette: Whether indices of a palette mean something; ``False`` refuses them.

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _LOSSY:
        raise DataFileError(
            f'{path}: {suffix} changes the numbers of a label. Export it again as .png or .npy.'
        )
    if suffix != '.npy' and suffix not in _PICTURES:
        known = ('.npy', *_PICTURES)
        raise DataFileError(f"{path}: cannot read '{suffix}' files. " + hint(suffix, known))
    if suffix in _PICTURES:
        return _pixels(path, palette)
    array = _reading(path, lambda p: np.load(p, allow_pickle=False))
    if not isinstance(array, np.ndarray):
        names = ', '.join(array.files) or 'none'
        array.close()
        raise DataFileError(
            f'{path}: is an .npz archive (arrays: {names}), not an .npy file. Save the array alone '
            'with np.save.'
        )
    if array.dtype.kind not in 'biuf':
        raise DataFileError(f'{path}: expected numbers, got an array of {array.dtype}.')
    return array.astype(array.dtype.newbyteorder('='), copy=False)


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file that hold something, without white space at their ends.

    Raises:
        DataFileError: see :func:`read_text`.
    """
    return [line for line in map(str.strip, read_text(path).splitlines()) if line]


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        DataFileError: it is in another encoding; its place, and which one it may be.
    """
    data = Path(path).read_bytes()
    wide = data[:2] in (b'\xff\xfe', b'\xfe\xff') or b'\0' in data
    try:
        if not wide:
            return data.decode('utf-8-sig')
        where = 'it has zero bytes or a mark of two bytes'
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        where = f'byte 0x{data[error.start]:02x} in line {line}'
    kind = 'UTF-16' if wide else 'Latin-1 or another 8-bit encoding'
    raise DataFileError(
        f'{path}: expected text in UTF-8, got what looks like {kind} ({where}). Save it as UTF-8 '
        f'(iconv -f {"UTF-16" if wide else "LATIN1"} -t UTF-8).'
    )


def read_mat(path: str | Path, key: str) -> np.ndarray:
    """The variable ``key`` of a MATLAB file.

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    from scipy.io import loadmat

    def read(file: Path) -> dict[str, np.ndarray]:
        # given a path, loadmat hides that there is no such file
        with file.open('rb') as stream:
            return loadmat(stream)

    content = _reading(path, read)
    if key not in content:
        names = [name for name in content if not name.startswith('__')]
        raise DataFileError(f"{path}: has no variable '{key}'. " + hint(key, names))
    return content[key]


def whole_numbers(array: np.ndarray, path: str | Path, highest: int = 255) -> np.ndarray:
    """Class indices stored as any type, as uint8 (uint16 where ``highest`` is beyond 255).

    Raises:
        DataFileError: a value is not a whole number in 0..``highest``.
    """
    kind = np.uint8 if highest <= 255 else np.uint16
    with np.errstate(invalid='ignore'):
        converted = array.astype(kind)
    if array.dtype != kind and not np.array_equal(converted, array):
        raise DataFileError(
            f'{path}: expected whole numbers between 0 and {np.iinfo(kind).max}, got {array.dtype} '
            f'values from {array.min()} to {array.max()}. Export the label as class indices.'
        )
    return converted


def _opened(path: Path, exif: bool) -> Image.Image:
    picture = Image.open(path)
    picture.load()
    return picture if not exif else _turned(picture)


def _turned(picture: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def _channels(array: np.ndarray, path: str | Path) -> np.ndarray:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataFileError(f'{path}: expected a picture (H, W, C), got {array.shape}.')
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] >= 3:
        array = np.concatenate([array[..., 2::-1], array[..., 3:]], -1)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataFileError(f'{path}: the picture has values that are NaN or infinite.')
    return np.ascontiguousarray(array)


def _pixels(path: str | Path, palette: bool) -> np.ndarray:
    """The numbers of a lossless picture file."""
    picture, stored = _reading(path, _opened_with_raw_mode)
    with picture:
        mode, kind = picture.mode, picture.format
        frames = getattr(picture, 'n_frames', 1)
        array = np.array(picture)
    if kind in ('JPEG', 'MPO', 'WEBP'):
        raise DataFileError(f'{path}: is in truth a {kind} file, which changes numbers.')
    if frames > 1:
        raise DataFileError(f'{path}: holds {frames} pictures. Save the label alone.')
    if mode in ('LA', 'RGBA') and (array[..., -1] == 255).all():
        array, mode = array[..., 0] if mode == 'LA' else array[..., :3], mode[:-1]
    if mode not in _EXACT and not mode.startswith('I;16'):
        raise DataFileError(
            f'{path}: mode {mode} of the picture (transparency, or colours for print) is no label. '
            'Export it as grey (8 or 16 bits), palette or RGB.'
        )
    if mode == 'P' and not palette:
        raise DataFileError(
            f'{path}: has a palette (mode P), so its numbers are indices of colours and no values. '
            'Export it as grey or RGB.'
        )
    if mode == 'RGB' and ';16' in stored:
        # of which Pillow keeps 8 bits
        return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 2::-1])
    # Pillow opens 16-bit PNG files as 32-bit integers in some versions
    sixteen = mode.startswith('I;16') or (mode == 'I' and kind == 'PNG')
    return array.astype(np.uint16) if sixteen else array


def _opened_with_raw_mode(path: Path) -> tuple[Image.Image, str]:
    """The picture, and how its file stores a pixel, by Pillow's name."""
    picture = Image.open(path)
    stored = str(picture.tile[0][3]) if picture.tile else ''
    picture.load()
    return picture, stored


def _reading(path: str | Path, read: Callable[[Path], Any]) -> Any:
    path = Path(path)
    try:
        return read(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path}: no such file. Complete the data (docs/data_preparation.md), or take the '
            'picture out of the split.'
        ) from None
    except Exception as error:
        raise DataFileError(
            f'{path}: cannot be read ({type(error).__name__}: {error}). The file is truncated or '
            'not what its name says: copy it again.'
        ) from error
