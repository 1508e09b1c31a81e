"""The folder of one run, and what its files say about it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mtpeft.hooks.result_hook import RESULT_FILE
from mtpeft.utils.atomic import write_atomically


class BusyError(RuntimeError):
    """Another process works in the folder."""


@dataclass(frozen=True)
class RunFolder:
    """``<work_dir>/<label>/seed<k>`` with ``recipe.json``, ``result.json`` or ``failed.json``.

    Args:
        path: The folder; it need not exist.

    Example:
        >>> RunFolder(Path('no/such/folder')).result() is None
        True
    """

    path: Path

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.path / 'log.txt'

    def result(self) -> dict | None:
        """What a finished run came to."""
        return self._read(RESULT_FILE)

    def recipe(self) -> dict | None:
        """What the run was started with."""
        return self._read('recipe.json')

    def failure(self) -> dict | None:
        """Why the last attempt failed."""
        return self._read('failed.json')

    def begin(self, recipe: dict) -> None:
        """Note what is about to run, and forget an earlier failure."""
        self._write('recipe.json', recipe)
        self.forget_failure()

    def fail(self, reason: str, **details: Any) -> None:
        """Note why an attempt failed."""
        self._write('failed.json', dict(reason=reason, **details))

    def forget_failure(self) -> None:
        (self.path / 'failed.json').unlink(missing_ok=True)

    def last_checkpoint(self) -> str | None:
        """Name of the checkpoint that the run goes on from."""
        file = self.path / 'last_checkpoint'
        return os.path.basename(file.read_text().strip()) if file.is_file() else None

    def move_away(self) -> Path:
        """Rename the folder to a free name beside it."""
        number = 1
        while (target := self.path.with_name(f'{self.path.name}.old{number}')).exists():
            number += 1
        return self.path.rename(target)

    def _lock(self, file: TextIO, patience: float) -> None:
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end or _lives(file):
                    raise BusyError(
                        f'Another process is running in {self.path} (perhaps one that a '
                        'killed compare.py left); wait for its end, or stop it.'
                    ) from None
                time.sleep(0.2)
        lock = self.path / '.lock'
        # what another process moved away meanwhile is not this folder any more
        if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(file.fileno())):
            raise BusyError(f'Another process moved {self.path} away; start again.')
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)

    @contextmanager
    def locked(self, patience: float = 15.0) -> Iterator[TextIO]:
        """Hold the folder; a process that gets the yielded file holds it as well.

        Loaders of a killed run need some seconds to notice and let go, which is waited for. For a
        process that lives it is not: several share the runs of a suite.

        Raises:
            BusyError: another process holds the folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / '.lock', 'a+') as file:
            self._lock(file, patience)
            try:
                yield file
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _read(self, name: str) -> dict | None:
        file = self.path / name
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(
                f'{file} is damaged ({error}). Remove it: the run then goes on from its last '
                'checkpoint.'
            ) from None

    def _write(self, name: str, content: dict) -> None:
        data = json.dumps(content, indent=2, default=str).encode()
        write_atomically(data, self.path / name)


def _lives(lock: TextIO) -> bool:
    """Whether the process that took the lock lives; its children may hold it longer."""
    lock.seek(0)
    text = lock.read().strip()
    if not text.isdecimal():
        return False
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
