"""Reading pictures and labels; a file that cannot be read is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mtpeft.datasets.errors import DataFileError
from mtpeft.tasks import DenseTask
from mtpeft.utils.suggest import hint


def read_image(path: str | Path) -> np.ndarray:
    """A picture ``(H, W, 3)``, uint8, BGR, without regard to EXIF (labels have none).

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    # Pillow, because OpenCV fills the rest of a truncated JPEG with grey and says nothing
    rgb = _reading(path, lambda p: np.asarray(Image.open(p).convert('RGB')))
    return np.ascontiguousarray(rgb[..., ::-1])


def read_array(path: str | Path) -> np.ndarray:
    """An array from ``.npy``, or from ``.png`` as it is stored (palette indices, 16 bits).

    Raises:
        FileNotFoundError, DataFileError: naming the file.
    """
    suffix = Path(path).suffix.lower()
    readers: dict[str, Callable[[Path], np.ndarray]] = {
        '.npy': lambda p: np.load(p, allow_pickle=False),
        '.png': lambda p: np.array(Image.open(p)),
    }
    if suffix not in readers:
        raise DataFileError(f"{path}: cannot read '{suffix}' files. " + hint(suffix, readers))
    array = _reading(path, readers[suffix])
    if not isinstance(array, np.ndarray):
        names = ', '.join(array.files) or 'none'
        array.close()
        raise DataFileError(
            f'{path}: is an .npz archive (arrays: {names}), not an .npy file. Save the array alone '
            'with np.save.'
        )
    if array.dtype.kind not in 'biuf':
        raise DataFileError(f'{path}: expected numbers, got an array of {array.dtype}.')
    # Pillow opens 16-bit PNG files as 32-bit integers in some versions
    return array.astype(np.uint16) if suffix == '.png' and array.dtype == np.int32 else array


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


def read_label(path: str | Path, task: DenseTask) -> np.ndarray:
    """A label as its task's kind stores it.

    Classes and binary labels are integers; vectors ``.npy`` or RGB ``.png`` (see
    :func:`unit_vectors`); values floating point.
    """
    array = read_array(path)
    if task.kind in ('classes', 'binary'):
        return whole_numbers(array, path)
    return unit_vectors(array, path) if task.kind == 'vectors' else array.astype(np.float32)


def whole_numbers(array: np.ndarray, path: str | Path) -> np.ndarray:
    """Class indices 0..255 stored as any type, as uint8.

    Raises:
        DataFileError: a value is not a whole number in 0..255.
    """
    converted = array.astype(np.uint8)
    if array.dtype != np.uint8 and not np.array_equal(converted, array):
        raise DataFileError(
            f'{path}: expected whole numbers between 0 and 255, got {array.dtype} values from '
            f'{array.min()} to {array.max()}. Export the label as class indices.'
        )
    return converted


def unit_vectors(array: np.ndarray, path: str | Path) -> np.ndarray:
    """Vectors of unit length, 0 where there is none, from ``(H, W, 3)`` values or 8-bit colours.

    Colours mean ``n = 2 x / 255 - 1``. A vector shorter than 1/10 counts as none.

    Raises:
        DataFileError: wrong shape, or values outside -1..1 or not finite.
    """
    if array.ndim != 3 or array.shape[2] != 3:
        raise DataFileError(f'{path}: expected normals of shape (H, W, 3), got {array.shape}.')
    if array.dtype == np.uint8:
        array = array.astype(np.float32) * (2 / 255) - 1
    elif not np.issubdtype(array.dtype, np.floating):
        raise DataFileError(
            f'{path}: expected floating-point normals or 8-bit colours, got {array.dtype}.'
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all() or np.abs(array).max(initial=0) > 1.01:
        raise DataFileError(
            f'{path}: expected normals within -1..1 (0, 0, 0 where there is none), got values '
            f'from {array.min():g} to {array.max():g}.'
        )
    length = np.linalg.norm(array, axis=-1, keepdims=True)
    return np.where(length > 0.1, array / np.maximum(length, 0.1), 0).astype(np.float32)


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
