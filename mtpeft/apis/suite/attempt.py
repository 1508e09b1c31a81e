"""One attempt at a run: what is noted before it, and what it came to."""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from mtpeft.apis.suite.collect import one_line, refreshed
from mtpeft.apis.suite.failures import failure_reason
from mtpeft.apis.suite.process import start, stop
from mtpeft.apis.suite.recipe import fingerprint
from mtpeft.apis.suite.state import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """Makes one run in a process of its own.

    Args:
        run: The run.
        name: What it is called in what is said.
        command: Gives its command; may raise ``ValueError``.
        say: Called with a line of text for every event.
        redo: Move a run that was made with another recipe aside.
        environment: Further variables of the process.
    """

    run: Run
    name: str
    command: Callable[[Run], Sequence[str]]
    say: Say
    redo: bool = False
    environment: Mapping[str, str] | None = None

    def steps(self) -> Iterator[subprocess.Popen]:
        """Gives the process, if there is one, and is to be asked again when that has ended.

        The folder is held until then, or until the iterator is closed.

        Raises:
            BusyError: another process works in the folder.
        """
        run, folder = self.run, self.run.folder
        if run.status == 'broken':
            # collect() finds the reason again each time
            self.say(f'{self.name}: failed. {run.reason}')
            return
        if not self._make_room():
            return
        with folder.locked() as lock:
            if refreshed(run).status == 'finished':
                self.say(f'{self.name}: another process finished it meanwhile.')
                folder.forget_failure()
                return
            folder.begin(run.recipe)
            try:
                command = self.command(run)
            except ValueError as error:
                folder.fail(one_line(str(error)))
                self.say(f'{self.name}: failed. {one_line(str(error))}')
                return
            yield from self._make(command, lock)

    def _make(self, command: Sequence[str], lock: TextIO) -> Iterator[subprocess.Popen]:
        folder, began = self.run.folder, time.time()
        before = folder.log.stat().st_size if folder.log.is_file() else 0
        last = folder.last_checkpoint()
        how = f'goes on from {last}' if last else 'starts'
        self.say(f'{self.name}: {how}, log {folder.log}')
        with open(folder.log, 'a') as log:
            print(f'$ {shlex.join(command)}', file=log, flush=True)
            child = start(command, log, lock.fileno(), self.environment or {})
            try:
                yield child
            except BaseException:
                stop([child])
                raise
        result = folder.result()
        if child.returncode == 0 and _is_result(result, self.run):
            taken = _duration(time.time() - began)
            self.say(f'{self.name}: finished in {taken}. {brief(result)}')
            return
        reason = failure_reason(child.returncode, _tail(folder.log, before))
        folder.fail(reason, returncode=child.returncode, log=str(folder.log))
        self.say(f'{self.name}: failed. {reason}')

    def _make_room(self) -> bool:
        """Move a run of another recipe aside; whether the folder is free."""
        with self.run.folder.locked():
            # another process may have moved it away, or made a run there meanwhile
            now = refreshed(self.run)
            if now.status != 'changed':
                return True
            if not self.redo:
                self.say(f'{self.name}: skipped, another process made it otherwise ({now.reason}).')
                return False
            old = self.run.folder.move_away()
        self.say(f'{self.name}: the recipe changed ({now.reason}); the old run is now {old}')
        return True


def _is_result(result: dict | None, run: Run) -> bool:
    return result is not None and result['recipe'] == fingerprint(run.resolved)


def brief(result: dict) -> str:
    """The headlines of a result in a line."""
    words = []
    for task, line in result['headline'].items():
        value = '-' if line['value'] is None else f'{line["value"]:.3f}'
        words.append(f'{task}/{line["metric"]} {value}')
    return ', '.join(words)


def _tail(path: Path, start: int, size: int = 200_000) -> str:
    with open(path, 'rb') as file:
        end = file.seek(0, 2)
        file.seek(max(start, end - size))
        return file.read().decode(errors='replace')


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}'
