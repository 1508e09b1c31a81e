"""One run in a folder at a time."""

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import TextIO

from mmengine.dist import broadcast_object_list, is_main_process

LOCK_FILE = '.run.lock'

_HELD: dict[str, TextIO] = {}
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class WorkDirBusyError(RuntimeError):
    """Another process trains in the work dir."""


def hold(folder: str | os.PathLike) -> None:
    """Take ``folder`` for this process, until :func:`release` or the end of the process.

    The lock is of the process (``fcntl.lockf``): the kernel lets go of it however the process ends,
    and workers that it forks do not hold it on. A process that holds the folder may take it again.
    On a file system without locks nothing is held.

    Raises:
        WorkDirBusyError: another process holds it; the message says which.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> hold(folder); hold(folder); release(folder)
    """
    key = os.path.realpath(folder)
    # closing another handle of the file would let go of the lock, so there is one a process
    if key in _HELD:
        return
    Path(key).mkdir(parents=True, exist_ok=True)
    file = open(Path(key) / LOCK_FILE, 'a+', encoding='utf-8')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(file)
        file.close()
        if error.errno in _NO_LOCKS:
            return
        raise WorkDirBusyError(
            f'Another run works in {folder} ({holder}), and two would overwrite the files of one '
            'another. Wait for its end, stop it, or choose another --work-dir.'
        ) from None
    file.truncate(0)
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    print(json.dumps(dict(pid=os.getpid(), host=socket.gethostname(), since=since)), file=file)
    file.flush()
    _HELD[key] = file


def hold_together(folder: str | os.PathLike) -> None:
    """:func:`hold` for a run of several processes: the main one takes it, all end where it cannot.

    Raises:
        WorkDirBusyError: in every process.
    """
    refused = ['']
    if is_main_process():
        try:
            hold(folder)
        except WorkDirBusyError as error:
            refused = [str(error)]
    broadcast_object_list(refused)
    if refused[0]:
        raise WorkDirBusyError(refused[0])


def release(folder: str | os.PathLike) -> None:
    """Let go of ``folder``; nothing is done where this process does not hold it."""
    file = _HELD.pop(os.path.realpath(folder), None)
    if file is not None:
        file.close()


def _holder(file: TextIO) -> str:
    file.seek(0)
    try:
        known = json.loads(file.read())
        return f'process {known["pid"]} on {known["host"]}, since {known["since"]}'
    except (ValueError, KeyError, TypeError):
        return 'its process is not known'
