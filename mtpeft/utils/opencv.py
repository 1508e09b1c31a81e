"""Which OpenCV an environment holds, without importing it.

Every build of mmcv asks for ``opencv-python``, which shows windows and so needs libraries of a
desktop; ``opencv-python-headless`` is the same without. Both write the folder ``cv2``: of two, the
one that was installed last is imported.
"""

import ctypes
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution

_BUILDS = (
    'opencv-python', 'opencv-python-headless', 'opencv-contrib-python',
    'opencv-contrib-python-headless',
)  # fmt: skip
_HEADLESS = 'headless'
_COMPILED = ('.so', '.pyd')
#: what windows need and wheels do not bring, and where Debian has it
_DESKTOP = {'libGL.so.1': 'libgl1', 'libgthread-2.0.so.0': 'libglib2.0-0'}


def check_opencv() -> None:
    """Refuse an OpenCV that cannot be imported here, and warn of one that is mixed of two versions.

    Nothing is said of two builds of one version: either works, whichever came last.

    Raises:
        ImportError: the build with windows is there, and this machine has no libraries for windows;
            the commands that mend it are named.
    """
    found = _installed()
    if len({build.version for build in found}) > 1:
        named = ' and '.join(f'{build.name} {build.version}' for build in found)
        warnings.warn(
            f'This environment holds {named}, which write the same files: modules of two versions '
            'lie side by side. Remove both and install one:\n'
            f'    pip uninstall -y {" ".join(build.name for build in found)}\n'
            '    pip install opencv-python',
            stacklevel=3,
        )
    imported = imported_build(found)
    if imported is None or _HEADLESS in imported.name or sys.platform != 'linux':
        return
    missing = [library for library in _DESKTOP if not _loads(library)]
    if missing:
        raise ImportError(
            f'{imported.name} cannot be imported here: this machine has no '
            f'{" and no ".join(missing)}, which its windows need. mtpeft opens none, so either '
            'install the libraries, on Debian and Ubuntu by\n'
            f'    apt-get install -y {" ".join(map(_DESKTOP.get, missing))}\n'
            'or replace it by the build without windows:\n'
            f'    pip uninstall -y {" ".join(build.name for build in found)}\n'
            '    pip install --no-deps opencv-python-headless\n'
            '(pip check then says that mmcv asks for opencv-python; it needs no more than cv2.)'
        )


def imported_build(found: Sequence[Distribution]) -> Distribution | None:
    """Of the installed builds the one whose files lie in ``cv2``.

    Args:
        found: The installed ones. Where there are several, sizes of the compiled module tell.

    Example:
        >>> imported_build([]) is None
        True
    """
    if len(found) < 2:
        return found[0] if found else None
    return next((build for build in found if _is_whole(build)), None)


def _is_whole(build: Distribution) -> bool:
    """Is the compiled module the one that this package wrote?"""
    for file in build.files or ():
        if file.parts[0] == 'cv2' and file.name.startswith('cv2.') and file.suffix in _COMPILED:
            path = file.locate()
            return path.is_file() and path.stat().st_size == file.size
    return False


def _installed() -> list[Distribution]:
    found = []
    for name in _BUILDS:
        try:
            found.append(distribution(name))
        except PackageNotFoundError:
            continue
    return found


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
