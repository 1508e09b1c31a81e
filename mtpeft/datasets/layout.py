"""Finding out, before training, that a folder is not the data set it should be."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize

from mtpeft.datasets.files import read_lines
from mtpeft.datasets.recognise import advice, fits
from mtpeft.utils.paths import stays_inside
from mtpeft.utils.suggest import hint

MARKERS = {
    'PASCALContextMT': ('JPEGImages', 'ImageSets/Context'), 'NYUDMT': ('images', 'gt_sets')
}  # fmt: skip
"""Folders by which a layout is known, by data set class."""


def check_root(name: str, root: Path, tree: str, layout: str | None) -> None:
    """Check that ``root`` looks like the layout of a data set.

    Args:
        name: The data set's class, for the message.
        root: The folder.
        tree: The layout, drawn, for the message.
        layout: A key of ``MARKERS``; ``None``: any folder that holds something will do.

    Raises:
        FileNotFoundError: the folder is missing, empty, or of another layout.
    """
    markers = MARKERS.get(layout, ())
    if root.is_dir() and fits(root, markers) and any(root.iterdir()):
        return
    if root.is_file():
        problem = f"data_root='{root}' is a file, expected a folder."
    elif not root.is_dir():
        problem = f"data_root='{root}' does not exist (looked from {Path.cwd()})."
    elif not any(root.iterdir()):
        problem = f"data_root='{root}' is empty."
    else:
        missing = [m for m in markers if not (root / m).is_dir()]
        problem = f"data_root='{root}' has no folder {' and no '.join(missing)}."
    found = advice(layout, root, MARKERS) if layout else ''
    raise FileNotFoundError(
        f'{name}: {problem}{" " * bool(found)}{found}\nExpected:\n{tree}\n{_help(layout)}'
    )


def _help(layout: str | None) -> str:
    if layout is None:
        return 'docs/your_own_data.md shows how a folder is described.'
    converters = ['`mtpeft data scenes` writes a stand-in of the same layout']
    if layout == 'NYUDMT':
        converters.insert(0, "`mtpeft data nyudv2` builds it from NYU's original files")
    return (
        'docs/data_preparation.md says where the data comes from; '
        + '; '.join(converters) + '.'
    )  # fmt: skip


def read_split(path: Path) -> list[str]:
    """The ids of a split file, one a line; spaces within a line belong to the name.

    Raises:
        FileNotFoundError: there is no such split (the ones that exist are named).
        ValueError: the file is empty, is no text in UTF-8, names an id twice, or one outside of
            the data.
    """
    if not path.is_file():
        found = [p.stem for p in path.parent.glob(f'*{path.suffix}')]
        raise FileNotFoundError(f'{path}: no such split. ' + hint(path.stem, found))
    ids = read_lines(path)
    if not ids:
        raise ValueError(f'{path}: the split names no picture.')
    outside = [name for name in ids if not stays_inside(name)]
    if outside:
        raise ValueError(
            f"{path}: '{outside[0]}' leads out of the data. An id is the name of a picture in its "
            'folder, without a leading / and without ..'
        )
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise ValueError(f'{path}: names {len(twice)} pictures twice, such as {twice[0]}.')
    return ids


def below(root: Path, pattern: str) -> tuple[Path, str]:
    """The folder that a pattern starts from, which may be a whole path, and the rest of it."""
    place = Path(pattern)
    return (Path(place.anchor), str(place.relative_to(place.anchor))) if place.anchor else (
        root, pattern
    )  # fmt: skip


def list_ids(root: Path, pattern: str, split: str | None) -> list[str]:
    """The ids of all files that fit a pattern below ``root``, folders within the id included.

    Hidden files, such as those that a Mac leaves beside pictures, are none.
    """
    root, pattern = below(root, pattern)
    expression = ''.join(
        _FIELDS.get(part, re.escape(part)) for part in re.split(r'(\{id\}|\{split\})', pattern)
    ).replace('SPLIT', re.escape(split or ''))
    wanted = re.compile(_second_id(expression), re.IGNORECASE)
    start = root / pattern.split('{id}')[0].rpartition('/')[0].replace('{split}', split or '')
    return sorted(
        found['id']
        for path in _files(start)
        if (found := wanted.fullmatch(path.relative_to(root).as_posix()))
    )


_FIELDS = {'{id}': '(?P<id>.+)', '{split}': 'SPLIT'}


def _second_id(expression: str) -> str:
    first, group, rest = expression.partition(_FIELDS['{id}'])
    return first + group + rest.replace(_FIELDS['{id}'], '(?P=id)')


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        yield from (Path(place) / name for name in names if not name.startswith('.'))


class FolderIndex:
    """Which files exist, with one listing a folder (asking file by file is slow on networks).

    A name fits whatever the case of its suffix (``.JPG``), and however its accents are encoded.

    Example:
        >>> FolderIndex().has(Path('no/such/file'))
        False
    """

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}

    def has(self, path: Path) -> bool:
        """Whether the file exists."""
        return self.find(path) is not None

    def find(self, path: Path) -> Path | None:
        """The path of the file as it is spelt in its folder."""
        folder = path.parent
        if folder not in self._names:
            names = os.listdir(folder) if folder.is_dir() else ()
            self._names[folder] = {_plain(name): name for name in names}
            self._names[folder].update({name: name for name in names})
        names = self._names[folder]
        found = names.get(path.name) or names.get(_plain(path.name))
        return None if found is None else folder / found

    def first(self, paths: Sequence[Path]) -> Path:
        """The first of them that exists, else the first."""
        return next(filter(None, map(self.find, paths)), paths[0])


def _plain(name: str) -> str:
    stem, suffix = os.path.splitext(normalize('NFC', name))
    return stem + suffix.lower()
