"""Finding out, before training, that a folder is not the data set it should be."""

import os
from collections import Counter
from pathlib import Path

from mtpeft.datasets.files import read_text
from mtpeft.datasets.recognise import advice, fits
from mtpeft.utils.paths import stays_inside
from mtpeft.utils.suggest import hint

MARKERS = {
    'PASCALContextMT': ('JPEGImages', 'ImageSets/Context'), 'NYUDMT': ('images', 'gt_sets')
}  # fmt: skip
"""Folders by which a layout is known, by data set class."""


def check_root(name: str, root: Path, tree: str) -> None:
    """Check that ``root`` looks like the layout of the data set class ``name``.

    Args:
        name: A key of ``MARKERS``.
        root: The folder.
        tree: The layout, drawn, for the message.

    Raises:
        FileNotFoundError: the folder is missing, empty, or of another layout.
    """
    if root.is_dir() and fits(root, MARKERS[name]):
        return
    if root.is_file():
        problem = f"data_root='{root}' is a file, expected a folder."
    elif not root.is_dir():
        problem = f"data_root='{root}' does not exist (looked from {Path.cwd()})."
    elif not any(root.iterdir()):
        problem = f"data_root='{root}' is empty."
    else:
        missing = [m for m in MARKERS[name] if not (root / m).is_dir()]
        problem = f"data_root='{root}' has no folder {' and no '.join(missing)}."
    found = advice(name, root, MARKERS)
    raise FileNotFoundError(
        f'{name}: {problem}{" " * bool(found)}{found}\nExpected:\n{tree}\n{_help(name)}'
    )


def _help(name: str) -> str:
    converters = ['scenes_export.py writes a stand-in of the same layout']
    if name == 'NYUDMT':
        converters.insert(0, "nyudv2.py builds it from NYU's original files")
    return (
        'docs/data_preparation.md says where the data comes from; in tools/dataset_converters, '
        + '; '.join(converters) + '.'
    )  # fmt: skip


def read_split(path: Path) -> list[str]:
    """The ids of a split file, one a line.

    Raises:
        FileNotFoundError: there is no such split (the ones that exist are named).
        ValueError: the file is empty, is no text in UTF-8, names an id twice, or one outside of
            the data.
    """
    if not path.is_file():
        found = [p.stem for p in path.parent.glob(f'*{path.suffix}')]
        raise FileNotFoundError(f'{path}: no such split. ' + hint(path.stem, found))
    ids = read_text(path).split()
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


class FolderIndex:
    """Which files exist, with one listing a folder (asking file by file is slow on networks).

    Example:
        >>> FolderIndex().has(Path('no/such/file'))
        False
    """

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, path: Path) -> bool:
        """Whether the file exists."""
        folder = path.parent
        if folder not in self._names:
            self._names[folder] = frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()
        return path.name in self._names[folder]
