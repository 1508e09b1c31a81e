"""Reading ``nyu_depth_v2_labeled.mat`` and ``splits.mat``."""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_mat
from mtpeft.utils.suggest import hint

_NEEDED = ('images', 'depths', 'labels', 'names')
_SPLITS = {'train': 'trainNdxs', 'val': 'testNdxs'}
_FURTHEST = 100
FRAME = (480, 640)
"""Size of the pictures, which the crop and the camera belong to."""


class Picture(NamedTuple):
    """One labelled picture."""

    image: np.ndarray
    """``(H, W, 3)`` uint8, RGB."""
    depth: np.ndarray
    """``(H, W)`` float32, metres, holes filled in by NYU."""
    labels: np.ndarray
    """``(H, W)`` uint16: 0 unlabelled, else ``names[label - 1]``."""
    regions: np.ndarray
    """``(H, W)`` int32: a number for each object, 0 unlabelled."""


class LabeledFile:
    """``nyu_depth_v2_labeled.mat`` (MATLAB 7.3, which is HDF5), read one picture at a time.

    MATLAB stores the first axis fastest, so HDF5 shows every array with its axes in reverse:
    ``images`` ``(N, 3, W, H)``, ``depths`` and ``labels`` ``(N, W, H)``; ``names`` is a cell of
    references to strings. ``instances`` tells objects of one class apart, where the file has it.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: there is no such file.
        DataFileError: it is truncated, or not the labelled set.
        ImportError: h5py is not installed.

    Example:
        >>> LabeledFile('no/such/file.mat')
        Traceback (most recent call last):
        FileNotFoundError: no/such/file.mat: no such file ...
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            self._check()
            self.names = self._read_names()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self._file['images'].shape[0]

    def __enter__(self) -> 'LabeledFile':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def picture(self, index: int) -> Picture:
        """Picture ``index``, counted from 0.

        Raises:
            DataFileError: its data is damaged, is no depth in metres, or has unknown labels.
        """
        image = self._part('images', index).transpose(2, 1, 0)
        depth = self._part('depths', index).T.astype(np.float32)
        labels = self._part('labels', index).T
        where = f'{self.path}, picture {index + 1}'
        if not np.isfinite(depth).all() or depth.min() < 0 or depth.max() > _FURTHEST:
            raise DataFileError(
                f'{where}: expected depths in metres (0 to {_FURTHEST}), got values from '
                f'{depth.min():g} to {depth.max():g}.'
            )
        if labels.max() > len(self.names):
            raise DataFileError(
                f'{where}: label {labels.max()} is beyond the {len(self.names)} names.'
            )
        regions = labels.astype(np.int32)
        if 'instances' in self._file:
            regions = np.where(labels, regions * 256 + self._part('instances', index).T, 0)
        return Picture(np.ascontiguousarray(image), depth, labels, regions)

    def _part(self, name: str, index: int) -> np.ndarray:
        try:
            return self._file[name][index]
        except (OSError, RuntimeError) as error:
            raise DataFileError(
                f"{self.path}: '{name}' of picture {index + 1} cannot be read ({error}). The file "
                'is damaged: copy it again.'
            ) from error

    def _check(self) -> None:
        missing = [name for name in _NEEDED if name not in self._file]
        if missing:
            raise DataFileError(
                f"{self.path}: has no variable '{missing[0]}', so it is not "
                'nyu_depth_v2_labeled.mat. ' + hint(missing[0], self._file.keys())
            )
        count, channels, *plane = self._file['images'].shape
        shapes = {name: self._file[name].shape for name in ('images', 'depths', 'labels')}
        fits = channels == 3 and len(plane) == 2
        if not fits or any(shapes[name] != (count, *plane) for name in ('depths', 'labels')):
            raise DataFileError(
                f'{self.path}: expected images (N, 3, W, H), depths and labels (N, W, H), got '
                + ', '.join(f'{name} {shape}' for name, shape in shapes.items()) + '.'
            )  # fmt: skip
        if tuple(plane) != FRAME[::-1]:
            raise DataFileError(
                f'{self.path}: expected pictures of {FRAME[0]} x {FRAME[1]}, got '
                f'{plane[1]} x {plane[0]}. The camera is known for the original frame only.'
            )
        kinds = {name: self._file[name].dtype for name in ('images', 'depths', 'labels')}
        image, depth, label = kinds.values()
        if image != np.uint8 or depth.kind != 'f' or label.kind != 'u':
            raise DataFileError(
                f'{self.path}: expected images uint8, depths in floating point and labels in '
                f'unsigned integers, got {", ".join(f"{n} {k}" for n, k in kinds.items())}.'
            )

    def _read_names(self) -> list[str]:
        try:
            cells = (self._file[reference][()] for reference in self._file['names'][()].ravel())
            return [''.join(map(chr, cell.ravel())) for cell in cells]
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise DataFileError(
                f"{self.path}: 'names' cannot be read ({error}); expected a cell of strings."
            ) from error


def read_splits(path: str | Path, count: int) -> dict[str, list[int]]:
    """Indices from 0 of the pictures of ``'train'`` and ``'val'`` in ``splits.mat``.

    Args:
        path: The file; ``trainNdxs`` and ``testNdxs`` count from 1.
        count: Number of pictures.

    Raises:
        FileNotFoundError: there is no such file.
        DataFileError: it is another file, or names pictures that are not there, or one twice.
    """
    path = Path(path)
    if path.is_file() and _is_hdf5(path):
        raise DataFileError(
            f'{path}: is an HDF5 file, expected splits.mat. Are the two files swapped?'
        )
    splits = {name: read_mat(path, key).ravel() for name, key in _SPLITS.items()}
    numbers = np.concatenate(list(splits.values()))
    if numbers.size == 0 or (numbers < 1).any() or (numbers > count).any():
        raise DataFileError(
            f'{path}: expected picture numbers from 1 to {count}, got '
            f'{numbers.min(initial=0)} to {numbers.max(initial=0)}.'
        )
    values, times = np.unique(numbers, return_counts=True)
    if (times > 1).any():
        raise DataFileError(f'{path}: names picture {values[times > 1][0]} more than once.')
    return {name: [int(number) - 1 for number in split] for name, split in splits.items()}


def _is_hdf5(path: Path) -> bool:
    # MATLAB puts 512 bytes of its own in front
    with path.open('rb') as file:
        head = file.read(520)
    return b'\x89HDF\r\n\x1a\n' in (head[:8], head[512:])


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise ImportError(
            'Reading nyu_depth_v2_labeled.mat needs h5py: pip install "mtpeft[data]"'
        ) from None
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file (docs/data_preparation.md says where it comes from).'
        )
    if not _is_hdf5(path):
        raise DataFileError(
            f'{path}: is not an HDF5 (MATLAB 7.3) file of {path.stat().st_size} bytes, so it is '
            'not nyu_depth_v2_labeled.mat (2.8 GB). Are the two files swapped, or is it an error '
            'page saved by a browser?'
        )
    try:
        return h5py.File(path, 'r')
    except OSError as error:
        raise DataFileError(
            f'{path}: cannot be opened ({error}). The file is truncated or damaged: copy it again.'
        ) from error
