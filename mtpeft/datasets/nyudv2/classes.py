"""From the 894 names of NYUDv2 to its 40 classes (Gupta et al., CVPR 2013)."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_mat
from mtpeft.tasks.palettes import NYUD
from mtpeft.utils.suggest import hint

_SPELT = {
    'refrigerator': 'refridgerator', 'other structure': 'otherstructure',
    'other furniture': 'otherfurniture', 'other prop': 'otherprop',
}  # fmt: skip
CLASSES = tuple(_SPELT.get(name, name) for name in NYUD)
"""The 40 classes, in order in NYU's spelling; the last three collect the rest."""

NAMED = 37
"""How many classes are things with a name."""
REST = {'otherprop': 40, 'ignore': 0}
"""What may become of names that no mapping covers."""
# NYU's name of the class and other spellings of it in use
_ALIASES = {
    'book': 'books', 'refrigerator': 'refridgerator', 'fridge': 'refridgerator',
    'tv': 'television', 'nightstand': 'night stand',
}  # fmt: skip


def class_table(
    names: Sequence[str], mapping: Path | None = None, rest: str | None = None
) -> np.ndarray:
    """A table from the label ``k`` (0: none, else ``names[k - 1]``) to 0 (ignored) or class 1..40.

    Args:
        names: The names of the labels, in order.
        mapping: ``classMapping40.mat`` of the 40-class toolbox, or a ``.json`` with
            ``{name: class}``, classes 1..40, 0 to ignore. ``None``: only the 37 named classes, by
            their names.
        rest: What the other names become: ``'otherprop'`` (class 40) or ``'ignore'``. Not needed
            with a mapping of every name.

    Returns:
        ``(len(names) + 1,)`` uint8.

    Raises:
        ValueError: names without a class, and ``rest`` does not say what they become.
        DataFileError: the mapping is broken, or holds a class beyond 40.

    Example:
        >>> class_table(['book', 'wall', 'goat'], rest='otherprop').tolist()
        [0, 23, 1, 40]
    """
    if rest is not None and rest not in REST:
        raise ValueError(f"rest='{rest}' is unknown. " + hint(rest, REST))
    found = _by_name(names) if mapping is None else _read(mapping, names)
    unknown = [name for name in names if name not in found]
    if unknown and rest is None:
        raise ValueError(_unknown_text(unknown, len(names), mapping))
    return np.array([0] + [found.get(name, REST.get(rest, 0)) for name in names], np.uint8)


def _by_name(names: Sequence[str]) -> dict[str, int]:
    known = {name: number for number, name in enumerate(CLASSES[:NAMED], start=1)}
    known |= {other: known[name] for other, name in _ALIASES.items()}
    plain = {name: name.lower().replace('-', ' ').replace('_', ' ') for name in names}
    return {name: known[same] for name, same in plain.items() if same in known}


def _read(path: Path, names: Sequence[str]) -> dict[str, int]:
    found = _read_json(path) if path.suffix.lower() == '.json' else _read_matlab(path, names)
    for name, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 40:
            raise DataFileError(
                f"{path}: '{name}' has class {number!r}, expected a whole number from 1 to 40 (0 "
                'to ignore it).'
            )
    strange = [name for name in found if name not in names]
    if strange:
        raise DataFileError(
            f"{path}: the labels have no name '{strange[0]}'. " + hint(strange[0], names)
        )
    return found


def _read_json(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
        problem = f'it holds a {type(found).__name__}'
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: no such file (--class-mapping).') from None
    except ValueError as error:
        problem = str(error)
    raise DataFileError(f'{path}: expected JSON of the kind {{"wall": 1, ...}}, but {problem}.')


def _read_matlab(path: Path, names: Sequence[str]) -> dict[str, int]:
    numbers = read_mat(path, 'mapClass').ravel().tolist()
    if len(numbers) != len(names):
        raise DataFileError(
            f'{path}: mapClass has {len(numbers)} entries, but the labels have {len(names)} names. '
            'It belongs to another release of the labels.'
        )
    # MATLAB's numbers are doubles
    whole = [int(n) if isinstance(n, float) and n.is_integer() else n for n in numbers]
    return dict(zip(names, whole, strict=True))


def _unknown_text(unknown: list[str], total: int, mapping: Path | None) -> str:
    shown = ', '.join(map(repr, unknown[:5])) + (', ...' if len(unknown) > 5 else '')
    if mapping is not None:
        return (
            f'{mapping}: has no class for {len(unknown)} of {total} names ({shown}). Add them, or '
            'say what they become: --rest otherprop or --rest ignore.'
        )
    return (
        f'{len(unknown)} of {total} names are none of the {NAMED} named classes ({shown}). Which '
        'of them are otherstructure, otherfurniture or otherprop (38, 39, 40) was decided by '
        'Gupta et al. (CVPR 2013) and cannot be told from the names.\n'
        'Pass their mapping, --class-mapping classMapping40.mat (variable mapClass), or one of '
        'your own, --class-mapping FILE.json with {"wall": 1, ...}.\n'
        'Without it: --rest otherprop makes all of them class 40, --rest ignore leaves them '
        'unlabelled. Neither gives a mIoU to compare with published ones.'
    )
