"""Files that are never half written."""

import os
import tempfile
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

ATOMIC = 'mtpeft.atomic'
"""Name of the file backend, for ``backend_args=dict(backend=ATOMIC)``."""


def write_atomically(data: bytes, path: str | os.PathLike) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what it held before.

    Written to a temporary file in the same folder, flushed to the disk, then renamed.

    Raises:
        OSError: the data could not be written (such as a full disk); the temporary file is gone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives 0600, other tools the user's default
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(folder: str | os.PathLike, *names: str) -> None:
    """Remove what :func:`write_atomically` left of files in ``folder`` when it was killed.

    Nobody may be writing them.

    Args:
        folder: The folder.
        *names: Names of the files, or patterns such as ``'*.pth'``.
    """
    for name in names:
        # mkstemp draws eight characters
        for path in Path(folder).glob(f'.{name}.????????.tmp'):
            path.unlink(missing_ok=True)


def write_or_exit(data: bytes, path: str | os.PathLike) -> None:
    """:func:`write_atomically` for scripts, which end in words when a disk is full.

    Raises:
        SystemExit: the data could not be written; what is whole, and what to do.
    """
    path = Path(path)
    try:
        write_atomically(data, path)
    except OSError as error:
        left = (
            'The file of that name is the one from before, whole.' if path.is_file()
            else 'Nothing of it is left.'
        )  # fmt: skip
        raise SystemExit(
            f'{path}: {len(data):,} bytes could not be written ({error.strerror or error}). {left} '
            'What it is made from is unchanged. Make room, or give a name in another folder, and '
            'run the command again.'
        ) from error


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files with writes that leave the old file or the whole new one."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        write_atomically(obj, filepath)

    def put_text(
        self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8'
    ) -> None:  # fmt: skip
        write_atomically(obj.encode(encoding), filepath)


register_backend(ATOMIC, AtomicLocalBackend, force=True)
