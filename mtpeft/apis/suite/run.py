"""Runs of a suite, one after another, each in a process of its own."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtpeft.apis.suite.collect import collect, one_line, refreshed
from mtpeft.apis.suite.folder import BusyError
from mtpeft.apis.suite.recipe import ChangedRecipeError, fingerprint, option_words
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Entry, Suite, run_options

Say = Callable[[str], None]


@dataclass
class SuiteRunner:
    """Trains what a suite still lacks.

    Finished runs are skipped, stopped ones go on from their last checkpoint, failed ones are
    tried again. A run that fails is noted as failed with its reason, and the next one starts.
    Several processes may do so at once: each takes the next run that no other is making.

    Args:
        suite: The suite.
        work_dir: Each run has the folder ``<work_dir>/<label>/seed<k>``.
        train: Path of ``tools/train.py``.
        python: The interpreter.
        redo: Move runs that were made with another recipe aside and make them again.
        say: Called with a line of text for every event.
        after_run: Called after every run.
        results: Files of finished runs; what has one is finished.

    Example:
        >>> suite = load_suite('scenes')  # doctest: +SKIP
        >>> SuiteRunner(suite, 'work_dirs/s', 'tools/train.py').run()  # doctest: +SKIP
    """

    suite: Suite
    work_dir: str | Path
    train: str | Path
    python: str = sys.executable
    redo: bool = False
    say: Say = print
    after_run: Callable[[], None] = field(default=lambda: None)
    results: ResultFiles | None = None

    def todo(self, entries: Sequence[Entry] | None = None) -> list[Run]:
        """Runs of ``entries`` (all by default) that are not finished, in the order of making.

        Stage by stage, and within a stage seed by seed.

        Raises:
            ChangedRecipeError: some were made with another recipe and ``redo`` is not set.
        """
        runs = collect(self.suite, self.work_dir, self.results)
        if entries is not None:
            runs = [run for run in runs if run.entry in entries]
        changed = [run for run in runs if run.status == 'changed']
        if changed and not self.redo:
            lines = '\n'.join(f'  {r.entry.label} seed {r.seed}: {r.reason}' for r in changed)
            raise ChangedRecipeError(
                f'The recipe changed since {len(changed)} of the {len(runs)} runs were made:\n'
                f'{lines}\nMake them again with --redo (the old folders are kept under another '
                'name), choose another --work-dir, or take the change back.'
            )
        left = (run for run in runs if run.status != 'finished')
        return sorted(left, key=lambda run: (run.entry.stage, run.seed))

    def run(self, entries: Sequence[Entry] | None = None) -> None:
        """Make the runs of ``entries`` (all by default) that are not finished.

        Raises:
            ChangedRecipeError: see :meth:`todo`; nothing was run.
            KeyboardInterrupt: the user's; the run in progress has ended and can go on later.
        """
        todo = self.todo(entries)
        for number, run in enumerate(todo, 1):
            name = f'[{number}/{len(todo)}] {run.entry.label} seed {run.seed}'
            try:
                self._one(run, name)
            except BusyError as error:
                self.say(f'{name}: skipped. {error}')
            self.after_run()

    def command(self, run: Run) -> list[str]:
        """The command of a run.

        Raises:
            ValueError: an option cannot be said on a command line.
        """
        options = {
            **run_options(self.suite, run.entry),
            'default_hooks.result.type': 'mtpeft.ResultHook',
            'default_hooks.result.recipe': fingerprint(run.resolved),
        }
        return [
            self.python, str(self.train), run.entry.config, '--work-dir', str(run.folder.path),
            '--seed', str(run.seed), '--resume', *self.suite.about_of(run.entry).words(),
            '--cfg-options', *option_words(options),
        ]  # fmt: skip

    def _one(self, run: Run, name: str) -> None:
        folder = run.folder
        if run.status == 'broken':
            # collect() finds the reason again each time
            self.say(f'{name}: failed. {run.reason}')
            return
        if not self._make_room(run, name):
            return
        with folder.locked() as lock:
            if refreshed(run).status == 'finished':
                self.say(f'{name}: another process finished it meanwhile.')
                folder.forget_failure()
                return
            folder.begin(run.recipe)
            start, began = folder.log.stat().st_size if folder.log.is_file() else 0, time.time()
            try:
                command = self.command(run)
            except ValueError as error:
                folder.fail(one_line(str(error)))
                self.say(f'{name}: failed. {one_line(str(error))}')
                return
            last = folder.last_checkpoint()
            how = f'goes on from {last}' if last else 'starts'
            self.say(f'{name}: {how}, log {folder.log}')
            with open(folder.log, 'a') as log:
                print(f'$ {shlex.join(command)}', file=log, flush=True)
                code = _call(command, log, lock.fileno())
            result = folder.result()
            if code == 0 and _is_result(result, run):
                self.say(f'{name}: finished in {_duration(time.time() - began)}. {brief(result)}')
                return
            reason = failure_reason(code, _tail(folder.log, start))
            folder.fail(reason, returncode=code, log=str(folder.log))
            self.say(f'{name}: failed. {reason}')

    def _make_room(self, run: Run, name: str) -> bool:
        """Move a run of another recipe aside; whether the folder is free."""
        with run.folder.locked():
            # another process may have moved it away, or made a run there meanwhile
            now = refreshed(run)
            if now.status != 'changed':
                return True
            if not self.redo:
                self.say(f'{name}: skipped, another process made it otherwise ({now.reason}).')
                return False
            old = run.folder.move_away()
        self.say(f'{name}: the recipe changed ({now.reason}); the old run is now {old}')
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


def failure_reason(code: int, log: str) -> str:
    """Why a process failed: its signal, or the last error of its log and its exit status.

    Example:
        >>> failure_reason(-9, '')
        'killed by SIGKILL (the system does so when memory runs out)'
        >>> failure_reason(1, 'ConfigError: no such role\\nmore words')
        'ConfigError: no such role (exit status 1)'
        >>> failure_reason(1, 'Traceback (most recent call last):\\n  x\\nKeyError: 1\\nbye')
        'KeyError: 1 (exit status 1)'
    """
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f'signal {-code}'
        more = ' (the system does so when memory runs out)' if name == 'SIGKILL' else ''
        return f'killed by {name}{more}'
    if code == 0:
        return f'ended without a result: {last_error(log)}'
    return f'{last_error(log)} (exit status {code})'


def last_error(log: str) -> str:
    """The error of the last traceback in a log, else the last in words, else the last line."""
    tracebacks = log.rsplit('Traceback (most recent call last):', 1)
    if len(tracebacks) == 2:
        found = re.search(r'^[\w.]+(:.*)?$', tracebacks[1], re.MULTILINE)
        if found:
            return one_line(found[0])
    # a command says errors in words
    said = re.findall(r'^\w*Error: .+$', log, re.MULTILINE)
    if said:
        return one_line(said[-1])
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith('$ ')]
    return one_line(lines[-1]) if lines else 'it printed nothing'


def _call(command: Sequence[str], log, lock: int) -> int:
    """Run a command; an interruption of this process is passed on to it."""
    child = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        start_new_session=True, pass_fds=[lock],
    )  # fmt: skip
    try:
        return child.wait()
    except BaseException:
        _stop(child)
        raise


def _stop(child: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, None)):
        child.send_signal(number)
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _tail(path: Path, start: int, size: int = 200_000) -> str:
    with open(path, 'rb') as file:
        end = file.seek(0, 2)
        file.seek(max(start, end - size))
        return file.read().decode(errors='replace')


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}'
