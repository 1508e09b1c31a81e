"""Paths: those that others give, local and in their folder; and ours, in what is passed on."""

import io
import re
import tokenize
from ast import literal_eval, parse
from pathlib import PurePath, PureWindowsPath


def local_path(path: str) -> str:
    """``path``, if it is one of this machine.

    Readers of pictures take addresses too, and would fetch what a stranger names.

    Raises:
        ValueError: it is a URL.

    Example:
        >>> local_path('photos/room.jpg')
        'photos/room.jpg'
    """
    if '://' in path:
        raise ValueError(
            f"'{path}' is an address, expected the path of a local file. Download it first: files "
            'are read from this machine only.'
        )
    return path


def stays_inside(name: str) -> bool:
    """Does a relative name stay in the folder that it is joined to?

    Example:
        >>> stays_inside('rooms/0001'), stays_inside('../secrets'), stays_inside('/etc/passwd')
        (True, False, False)
    """
    path = PurePath(name)
    return not path.is_absolute() and '..' not in path.parts


def name_alone(path: str) -> str:
    """The name of a file, without the folders of this machine; an address of the net as it is.

    Example:
        >>> name_alone('/home/me/base.pth'), name_alone('runs/base.pth'), name_alone('https://h/a')
        ('base.pth', 'base.pth', 'https://h/a')
    """
    if '://' in path and not path.startswith('file:'):
        return path
    return re.split(r'[/\\]+', path.rstrip('/\\'))[-1]


def without_folders(text: str) -> str:
    """A text of Python whose strings name no folder of this machine: of absolute paths, the names.

    Text that is no Python is left out whole.

    Example:
        >>> without_folders("data = dict(root='/home/me/rooms', size=(3, 4))  # mine")
        "data = dict(root='rooms', size=(3, 4))  # mine"
    """
    try:
        parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ''
    lines = text.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
        if token.type == tokenize.STRING:
            _shorten(lines, token)
    return ''.join(lines)


def _shorten(lines: list[str], token: tokenize.TokenInfo) -> None:
    value = literal_eval(token.string)
    (first, start), (last, end) = token.start, token.end
    if not isinstance(value, str) or not _is_absolute(value) or first != last:
        return
    line = lines[first - 1]
    lines[first - 1] = line[:start] + repr(name_alone(value)) + line[end:]


def _is_absolute(text: str) -> bool:
    led = text.startswith(('/', '~', '\\\\', 'file:')) or bool(PureWindowsPath(text).drive)
    return led and bool(name_alone(text))
