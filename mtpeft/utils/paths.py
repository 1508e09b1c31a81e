"""Paths of files that others give: local, and inside of their folder."""

from pathlib import PurePath


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
