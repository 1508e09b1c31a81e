"""Which context classes have normals that count, as users and the original release say it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtpeft.datasets.errors import DataFileError
from mtpeft.datasets.files import read_text

#: The two files of the original release: class names to ids, of NYUD and of PASCAL-Context.
RELEASED = ('nyu_classes.json', 'context_classes.json')
_ALWAYS, _NEVER = 'tvmonitor', 'unknown'


def read_normals_classes(given: Sequence[int] | Sequence[str] | str | None) -> list[int] | None:
    """Ids of context classes in order, ``None`` for every class.

    Args:
        given: ``None``; ids; the path of a JSON file with a list of ids; the paths of the two
            files :data:`RELEASED`, in any order; or that of the folder that holds them.

    Raises:
        FileNotFoundError, DataFileError: a file is missing, damaged, or something else.
        ValueError: ``given`` is none of these.
    """
    if given is None:
        return None
    if isinstance(given, (str, Path)):
        path = Path(given)
        if path.is_dir():
            return _common([path / name for name in RELEASED])
        given = _read(path)
        if isinstance(given, Mapping):
            raise DataFileError(
                f'{path}: expected a list of context class ids, got names of classes. Give the '
                f'paths of both {RELEASED[0]} and {RELEASED[1]}: what counts is in both.'
            )
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [None]
    if len(listed) == 2 and all(isinstance(path, (str, Path)) for path in listed):
        return _common([Path(path) for path in listed])
    if not all(isinstance(c, int) and not isinstance(c, bool) for c in listed):
        raise ValueError(
            'Expected normals_classes to be a list of context class ids, the path of a JSON file '
            f'with one, or the paths of {RELEASED[0]} and {RELEASED[1]}, got {given!r}.'
        )
    return sorted(listed)


def _common(paths: Sequence[Path]) -> list[int]:
    """What both released files name, by the ids of the one that is of PASCAL-Context."""
    files = {path: _read(path) for path in paths}
    for path, names in files.items():
        if not isinstance(names, Mapping) or not all(isinstance(i, int) for i in names.values()):
            raise DataFileError(
                f'{path}: expected names of classes with their ids, as a JSON dict.'
            )
    context = [path for path, names in files.items() if _ALWAYS in names]
    if len(context) != 1 or len(files) != 2:
        raise DataFileError(
            f'Expected one of {" and ".join(map(str, paths))} to be {RELEASED[1]}, with a class '
            f"'{_ALWAYS}', and the other {RELEASED[0]}, without; got {len(context)} with it."
        )
    ids = files.pop(context[0])
    (nyud,) = files.values()
    return sorted({ids[n] for n in nyud if n in ids and n != _NEVER} | {ids[_ALWAYS]})


def _read(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise DataFileError(f'{path}: expected JSON, got something else ({error}).') from error
