"""What a user names as input, as a list of pictures, videos and cameras."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtpeft.utils.paths import local_path
from mtpeft.utils.suggest import nearest

PICTURES = (
    '.bmp', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.pgm', '.png', '.pnm', '.ppm', '.tif',
    '.tiff', '.webp',
)  # fmt: skip
VIDEOS = (
    '.avi', '.m4v', '.mjpeg', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ogv', '.webm', '.wmv',
)  # fmt: skip
_MAGIC = '*?['


@dataclass(frozen=True)
class Input:
    """One picture, video or camera.

    Args:
        source: The path of the file, or the number of the camera.
        kind: What it is.
        name: What its results are called: the name of the file without its suffix, below the
            folder that was named. No two inputs of a list share one.
    """

    source: str
    kind: Literal['picture', 'video', 'camera']
    name: str


def find_inputs(
    words: Sequence[str | Path], recursive: bool = False, without: Path | None = None
) -> list[Input]:
    """The pictures, videos and cameras that ``words`` name.

    A word is a file, a folder (its pictures and videos, by the names of files), a pattern such as
    ``'photos/*.jpg'`` (``**`` reaches folders within), or the number of a camera. A file that is
    named twice is one input.

    Args:
        words: As on a command line.
        recursive: Look into the folders of a folder too.
        without: A folder whose files are no input, such as that of the results.

    Returns:
        The inputs, in the order of the words, those of a folder in the order of their names. Names
        are unique, whether or not case counts: the second ``room`` is ``room_2``.

    Raises:
        FileNotFoundError: there is no such file or folder, or nothing fits a pattern.
        ValueError: an address; a folder without pictures or videos.

    Example:
        >>> find_inputs(['0'])
        [Input(source='0', kind='camera', name='camera_0')]
    """
    seen: set[str] = set()
    names = _Names()
    found = []
    for word in words:
        for path, base in _files(local_path(str(word)), recursive, without):
            key = str(path) if base is None else os.path.realpath(path)
            if key in seen:
                continue
            seen.add(key)
            found.append(_input(path, base, names))
    return found


def kind_of(path: str | Path) -> Literal['picture', 'video']:
    """What a file is, by its suffix; what is unknown is a picture, which says so when read."""
    return 'video' if Path(path).suffix.lower() in VIDEOS else 'picture'


def is_many(word: str) -> bool:
    """Whether a path names several pictures: a folder, or a pattern that is no file."""
    return Path(word).is_dir() or (any(c in word for c in _MAGIC) and not Path(word).exists())


def _input(path: Path, base: Path | None, names: '_Names') -> Input:
    if base is None:
        return Input(str(path), 'camera', names.take(f'camera_{path}', True))
    kind = kind_of(path)
    name = path.relative_to(base).with_suffix('').as_posix()
    return Input(str(path), kind, names.take(name, kind == 'video'))


def _files(
    word: str, recursive: bool, without: Path | None
) -> Iterator[tuple[Path, Path | None]]:  # fmt: skip
    """Files, each with the folder that its name is below; of a camera ``None``."""
    path = Path(word)
    if path.is_dir():
        yield from ((file, path) for file in _of_folder(path, recursive, without))
    elif path.exists():
        yield path, path.parent
    elif word.isdecimal():
        yield path, None
    elif any(character in word for character in _MAGIC):
        yield from _of_pattern(word, without)
    else:
        raise FileNotFoundError(f'{word}: no such file or folder.{_meant(path)}')


def _of_folder(folder: Path, recursive: bool, without: Path | None) -> list[Path]:
    """Pictures and videos of a folder; hidden files are none."""
    inside, others, folders = [], [], []
    for root, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith('.'))
        here = Path(root)
        below[:] = [name for name in below if not _is(here / name, without)]
        folders += below
        visible = [here / name for name in files if not name.startswith('.')]
        inside += [file for file in visible if file.suffix.lower() in PICTURES + VIDEOS]
        others += [file for file in visible if file.suffix.lower() not in PICTURES + VIDEOS]
        if not recursive:
            break
    if not inside:
        raise ValueError(_nothing_in(folder, others, [] if recursive else folders))
    return sorted(inside)


def _of_pattern(word: str, without: Path | None) -> Iterator[tuple[Path, Path]]:
    found = [Path(name) for name in sorted(glob.glob(word, recursive=True))]
    files = [path for path in found if path.is_file() and not _below(path, without)]
    known = [path for path in files if path.suffix.lower() in PICTURES + VIDEOS]
    if not known and not files:
        raise FileNotFoundError(
            f'{word}: no file fits this pattern (looked from {Path.cwd()}). A pattern for all '
            "folders below is 'photos/**/*.jpg'."
        )
    base = Path(*_fixed(Path(word).parts[:-1]))
    yield from ((path, base) for path in known or files)


def _fixed(parts: Sequence[str]) -> list[str]:
    """The parts before the first that is a pattern."""
    fixed = []
    for part in parts:
        if any(character in part for character in _MAGIC):
            break
        fixed.append(part)
    return fixed


def _is(path: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def _below(path: Path, folder: Path | None) -> bool:
    if folder is None:
        return False
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def _nothing_in(folder: Path, others: list[Path], folders: list[str]) -> str:
    text = f'{folder} is a folder without pictures or videos'
    if others:
        text += f', only {len(others)} other files such as {min(others).name}'
    text += '. Pictures end with ' + ', '.join(PICTURES) + '; videos with ' + ', '.join(VIDEOS)
    if folders:
        text += f'. It has {len(folders)} folders: --recursive (recursive=True) looks into them'
    return text + '.'


def _meant(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f' (There is no folder {parent} either; looked from {Path.cwd()}.)'
    close = nearest(path.name, os.listdir(parent))
    return f' Did you mean {" or ".join(map(repr, close))}?' if close else ''


class _Names:
    """Names that were given, so that no two results go into one file."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()  # where frames of a video go
        self._parents: set[str] = set()

    def take(self, name: str, is_folder: bool) -> str:
        number, free = 1, name
        while not self._is_free(free.lower(), is_folder):
            number += 1
            # a name below a folder of frames is free only below another folder
            first, *rest = name.split('/') if _parents(name.lower()) & self._folders else [name]
            free = '/'.join([f'{first}_{number}', *rest])
        key = free.lower()
        self._taken.add(key)
        self._parents |= _parents(key)
        if is_folder:
            self._folders.add(key)
        return free

    def _is_free(self, key: str, is_folder: bool) -> bool:
        inside = bool(_parents(key) & self._folders)
        return key not in self._taken and not inside and not (is_folder and key in self._parents)


def _parents(key: str) -> set[str]:
    return {parent.as_posix() for parent in Path(key).parents} - {'.'}
