"""Labels that are slow to read, kept in files that are quick to read."""

import io
import zlib
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from mmengine.logging import print_log

from mtpeft.utils.atomic import write_atomically

#: part of every entry's name; another number when what is kept of a source changes
_VERSION = 1
_CHECK = 4  # bytes behind an entry
_LONGEST = 100  # characters of a picture's name in that of a file


class LabelCache:
    """Arrays made from files, each in ``FOLDER/KIND/NAME-DIGEST.png``, or ``.npy``.

    The digest is of the source's path, size and time of change, so a source that changed is read
    again. An entry is written whole or not at all, and any number of processes may share a folder.
    Behind each entry stands its checksum (readers of PNG pass over it): a damaged one is named in a
    warning and made again. Indices of 8 and 16 bits are PNGs, other arrays ``.npy``; both give back
    the same bits.

    Args:
        folder: Made if it is not there. One for each copy of the data.

    Raises:
        OSError: there is no such folder, and it cannot be made.

    Example:
        >>> import tempfile
        >>> source = Path(tempfile.mkdtemp(), 'a.mat')
        >>> source.write_text('x')
        1
        >>> cache = LabelCache(source.parent / 'cache')
        >>> make = lambda: print('read') or np.eye(2, dtype=np.uint8)
        >>> for _ in range(2):
        ...     label = cache.get('parts', 'a', source, make)
        read
        >>> label.tolist()
        [[1, 0], [0, 1]]
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"cache_dir='{folder}': cannot be made ({error}). Name a folder that you may write "
                'to, or leave cache_dir out.'
            ) from error
        self._full = False

    def get(
        self, kind: str, name: str, source: Path, make: Callable[[], np.ndarray | None]
    ) -> np.ndarray | None:
        """What ``make()`` reads from ``source``, from the cache where it is there.

        Args:
            kind: What is made, with all that changes it: entries of several kinds may come from
                one source.
            name: Of the picture.
            source: The file.
            make: Reads it; ``None`` (there is no label) is kept too.

        Raises:
            FileNotFoundError, DataFileError: as ``make`` does.
        """
        try:
            stem = self._stem(kind, name, source)
        except FileNotFoundError:
            return make()  # which says what is missing
        for path in _entries(stem):
            if path.is_file():
                try:
                    return _decoded(path)
                # (damage shows as any of several exceptions of NumPy and OpenCV)
                except Exception as error:
                    print_log(
                        f'{path}: damaged ({type(error).__name__}: {error}); made again from '
                        f'{source}.', logger='current', level=30,
                    )  # fmt: skip
        array = make()
        self._write(array, stem, source)
        return array

    def holds(self, kind: str, name: str, source: Path) -> bool:
        """Whether there is an entry (which may be damaged)."""
        return any(path.is_file() for path in _entries(self._stem(kind, name, source)))

    def _stem(self, kind: str, name: str, source: Path) -> Path:
        stat = source.stat()
        place = (source.parent.name, source.name)  # not the whole path: data may be moved
        key = '\0'.join(map(str, (_VERSION, name, *place, stat.st_size, stat.st_mtime_ns)))
        digest = blake2b(key.encode(), digest_size=8).hexdigest()
        return self.folder / kind / f'{quote(name, safe="")[-_LONGEST:]}-{digest}'

    def _write(self, array: np.ndarray | None, stem: Path, source: Path) -> None:
        suffix, data = _encoded(array)
        try:
            write_atomically(
                data + zlib.crc32(data).to_bytes(_CHECK, 'big'), stem.with_name(stem.name + suffix)
            )
        except OSError as error:  # a full disk stops no training
            if not self._full:
                print_log(
                    f'{self.folder}: what was read from {source} could not be kept ({error}). It '
                    'is read anew each time; of further files nothing is said.',
                    logger='current', level=30,
                )  # fmt: skip
            self._full = True


def _entries(stem: Path) -> list[Path]:
    return [stem.with_name(stem.name + suffix) for suffix in ('.png', '.npy', '.none')]


def _encoded(array: np.ndarray | None) -> tuple[str, bytes]:
    if array is None:
        return '.none', b''
    if array.ndim == 2 and array.size and array.dtype in (np.uint8, np.uint16):
        done, data = cv2.imencode('.png', np.ascontiguousarray(array))
        if done:
            return '.png', data.tobytes()
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return '.npy', buffer.getvalue()


def _decoded(path: Path) -> np.ndarray | None:
    stored = path.read_bytes()
    data, check = stored[:-_CHECK], stored[-_CHECK:]
    if len(check) < _CHECK or zlib.crc32(data).to_bytes(_CHECK, 'big') != check:
        raise ValueError('the checksum is another')
    if path.suffix == '.none':
        return None
    if path.suffix == '.npy':
        return np.load(io.BytesIO(data), allow_pickle=False)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
