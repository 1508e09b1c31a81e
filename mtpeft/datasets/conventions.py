"""What files leave unsaid, told from many of them and said in the log.

All splits of a folder are looked at together, so that training and validation are read alike.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.layout import below

_LOOKED_AT = 32
FURTHEST = 100  # no room is 100 m deep, and nothing is only 10 cm away
UNITS = {'m': 1.0, 'mm': 0.001}
_STEPS = {'millimetres': 1 / 1000, '1/256 m': 1 / 256, '1/5000 m': 1 / 5000}
_ROOM = (2.0, 13.2)  # metres to the furthest point of the furthest view


@dataclass(frozen=True)
class Guess:
    """What was told, from which file, and how to say it.

    Args:
        value: The convention.
        path: The file that decided.
        text: A sentence for the log.
    """

    value: float
    path: Path
    text: str


def files_like(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Some of the files that fit, of all splits, evenly spread over their names.

    Example:
        >>> files_like(Path('no/such/folder'), ['depth/{id}.npy'])
        []
    """
    globs = [pattern.replace('{id}', '*').replace('{split}', '*') for pattern in patterns]
    found = (path for glob in globs for path in below(root, glob)[0].glob(below(root, glob)[1]))
    return some_of(sorted(path for path in found if path.is_file()))


def some_of(paths: Sequence[Path]) -> list[Path]:
    """As many as are looked at, evenly spread."""
    places = np.linspace(0, len(paths) - 1, min(len(paths), _LOOKED_AT)).round()
    return [paths[int(place)] for place in places]


def depth_unit(paths: Sequence[Path], read: Callable[[Path], np.ndarray]) -> Guess | None:
    """Metres a step of depth maps whose unit nobody states.

    Up to 100 they are metres. Beyond, the unit is that of millimetres, 1/256 m and 1/5000 m by
    which the furthest point lies 2 to 13.2 m away, as in a room.

    Returns:
        The guess; ``None`` where no map has depth.

    Raises:
        DataFileError: no usual unit fits.
    """
    reach, zero, pixels = {}, 0, 0
    for path, depth in _readable(paths, read):
        zero, pixels = zero + int((depth == 0).sum()), pixels + depth.size
        if depth.max(initial=0) > 0:
            reach[path] = float(depth.max())
    if not reach:
        return None
    large = statistics.median_high(reach.values()) > FURTHEST
    reach = {path: value for path, value in reach.items() if (value > FURTHEST) == large}
    path = max(reach, key=reach.get)
    names = _STEPS if large else {'metres': 1.0}
    fitting = [n for n, s in names.items() if not large or _ROOM[0] <= reach[path] * s <= _ROOM[1]]
    if not fitting:
        raise DataFileError(
            f'{path}: reaches {reach[path]:g}, the most of {len(reach)} depth maps, which is no '
            'room in millimetres, 1/256 m or 1/5000 m. State depth_unit: the metres of one step, '
            'such as depth_unit=0.001.'
        )
    step = names[fitting[0]]
    return Guess(
        step, path,
        f'depth is read as {fitting[0]}, since {path} reaches {reach[path]:g}, the most of '
        f'{len(reach)} maps: {reach[path] * step:.2f} m. {zero / pixels:.1%} of the pixels are 0, '
        'which is no depth. (depth_unit states it.)',
    )  # fmt: skip


def first_class(
    paths: Sequence[Path], classes: int, read: Callable[[Path], np.ndarray], usual: int | None
) -> Guess | None:
    """Whether stored numbers count ``classes`` from 0 (255 is ignored) or from 1 (0 is).

    Args:
        paths: Files of the label.
        classes: Number of classes.
        read: Reads one.
        usual: What to take where the files do not tell; ``None``: nothing.

    Returns:
        The guess; ``None`` where no file can be read.

    Raises:
        DataFileError: they do not tell, and nothing is usual.
    """
    counts, last = np.zeros(65536, np.int64), None
    for path, stored in _readable(paths, read):
        if stored.ndim == 2 and stored.dtype.kind in 'bu':
            counts += np.bincount(stored.ravel(), minlength=65536)
            last = path
    if last is None or not counts.any():
        return None
    present = set(np.flatnonzero(counts).tolist())
    highest = max(present - {255}, default=0)
    if highest >= classes:
        value, why = 1, f'they reach {highest}'
    elif 255 in present and classes < 255:
        value, why = 0, f'they hold 255 and nothing else above {classes - 1}'
    elif usual is not None:
        value, why = usual, f'the layout has it so; they reach {highest}'
    else:
        raise DataFileError(
            f'{last.parent}: {len(paths)} labels hold {min(present)} to {highest} for {classes} '
            f'classes, which may be counted from 0, or from 1 with 0 ignored '
            f'({counts[0] / counts.sum():.1%} of the pixels). State first_class=0 or first_class=1.'
        )
    ignored = 0 if value else 255
    share = counts[ignored] / counts.sum()
    return Guess(
        value, last,
        f'classes are read as counted from {value}, and {ignored} as ignored ({share:.1%} of the '
        f'pixels of {len(paths)} labels), since {why}. (first_class states it.)',
    )  # fmt: skip


def _readable(
    paths: Sequence[Path], read: Callable[[Path], np.ndarray]
) -> Iterator[tuple[Path, np.ndarray]]:
    for path in paths:
        try:
            yield path, read(path)
        except (DataFileError, FileNotFoundError):
            continue  # named when that picture is loaded
