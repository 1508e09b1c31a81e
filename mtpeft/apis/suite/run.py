"""Runs of a suite, each in a process of its own, one after another or several at once."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from mtpeft.apis.suite.attempt import Attempt, Say
from mtpeft.apis.suite.collect import collect
from mtpeft.apis.suite.folder import BusyError
from mtpeft.apis.suite.process import stop
from mtpeft.apis.suite.recipe import ChangedRecipeError, fingerprint, option_words
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.slots import Slot
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Entry, Suite, run_options

_PAUSE = 0.1


@dataclass
class SuiteRunner:
    """Trains what a suite still lacks.

    Finished runs are skipped, stopped ones go on from their last checkpoint, failed ones are
    tried again. A run that fails is noted as failed with its reason, and the next one starts.
    There may be several places for runs, and several processes may do this at once: each takes the
    next run that no other is making.

    Args:
        suite: The suite.
        work_dir: Each run has the folder ``<work_dir>/<label>/seed<k>``.
        train: Path of ``tools/train.py``.
        python: The interpreter.
        redo: Move runs that were made with another recipe aside and make them again.
        say: Called with a line of text for every event.
        after_run: Called after every run.
        results: Files of finished runs; what has one is finished.
        slots: Places for a run each; so many are made at once.

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
    slots: Sequence[Slot] = (Slot(),)

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
            KeyboardInterrupt: the user's; the runs in progress have ended and can go on later.
        """
        todo = self.todo(entries)
        waiting = deque(
            (run, f'[{number}/{len(todo)}] {run.entry.label} seed {run.seed}')
            for number, run in enumerate(todo, 1)
        )
        busy: dict[Slot, tuple[Iterator[Popen], Popen]] = {}
        try:
            while waiting or busy:
                for slot in self.slots:
                    while waiting and slot not in busy:
                        self._begin(*waiting.popleft(), slot, busy)
                self._end(busy)
        except BaseException:
            stop([child for _, child in busy.values()])
            for steps, _ in busy.values():
                steps.close()
            raise

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

    def _begin(self, run: Run, name: str, slot: Slot, busy: dict) -> None:
        """Start a run in a place, which stays free where there is nothing to wait for."""
        name = f'{name} ({slot.name})' if slot.name else name
        steps = Attempt(run, name, self.command, self.say, self.redo, slot.environment).steps()
        try:
            child = next(steps, None)
        except BusyError as error:
            child = None
            self.say(f'{name}: skipped. {error}')
        if child is None:
            self.after_run()
        else:
            busy[slot] = steps, child

    def _end(self, busy: dict) -> None:
        """Wait until a run has ended, and note what it came to."""
        while busy:
            ended = [slot for slot, (_, child) in busy.items() if child.poll() is not None]
            for slot in ended:
                steps, _ = busy.pop(slot)
                next(steps, None)
                self.after_run()
            if ended:
                return
            time.sleep(_PAUSE)
