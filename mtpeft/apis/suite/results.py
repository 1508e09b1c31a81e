"""Results as small files that can be committed: the table can be made from them alone."""

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtpeft.apis.suite.recipe import option_words
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Entry, Suite, run_options
from mtpeft.utils.atomic import write_atomically

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class ResultFiles:
    """``<path>/<label>_seed<k>.json``, a file of a few KB for each finished run.

    A file has what :class:`mtpeft.hooks.ResultHook` wrote (metrics, headline, parameters, seconds,
    commit, machine, date) and what makes the run again: label, seed, config, options, command, and
    in ``resolved`` every option that matters. It names no folder of the machine, apart from
    options that do.

    Args:
        path: The folder; it need not exist.

    Example:
        >>> ResultFiles(Path('docs/results/nyud')).file('mtlora', 1).name
        'mtlora_seed1.json'
    """

    path: Path

    def file(self, label: str, seed: int) -> Path:
        """Where a run's result is."""
        return self.path / f'{label}_seed{seed}.json'

    def read(self, label: str, seed: int) -> dict | None:
        """What is there of a run.

        Raises:
            ValueError: the file is damaged.
        """
        file = self.file(label, seed)
        return _read(file) if file.is_file() else None

    def entries(self) -> Iterator[Entry]:
        """The method of each file."""
        for file in sorted(self.path.glob('*_seed*.json')):
            noted = _read(file)
            config = os.path.relpath(_ROOT / noted['config'])
            yield Entry(noted['label'], config, noted['role'], noted['cfg_options'])

    def keep(self, suite: Suite, runs: Sequence[Run]) -> None:
        """Write the results of ``runs`` that are finished in their folders.

        Raises:
            OSError: a file cannot be written.
        """
        for run in runs:
            if run.status != 'finished' or run.file is not None:
                continue
            content = json.loads(json.dumps(_content(suite, run), default=str))
            if self.read(run.entry.label, run.seed) != content:
                write_atomically(_text(content), self.file(run.entry.label, run.seed))


def _content(suite: Suite, run: Run) -> dict:
    options = run_options(suite, run.entry)
    config = _in_repository(run.entry.config)
    command = ['python', 'tools/train.py', config, '--seed', str(run.seed)]
    command += suite.about_of(run.entry).words()
    if options:
        command += ['--cfg-options', *option_words(options)]
    return {
        **run.result, 'suite': suite.name, 'label': run.entry.label, 'role': run.entry.role,
        'seed': run.seed, 'config': config, 'cfg_options': dict(run.entry.cfg_options),
        'command': shlex.join(command), 'resolved': run.resolved,
    }  # fmt: skip


def _text(content: dict) -> bytes:
    """JSON with a line for each key: short, and a difference shows what changed."""
    lines = [f'{json.dumps(key)}: {json.dumps(value)}' for key, value in content.items()]
    return ('{\n' + ',\n'.join(lines) + '\n}\n').encode()


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(
            f'{file} is damaged ({error}). Remove it or take it from git again.'
        ) from None


def _in_repository(config: str) -> str:
    path = Path(config).resolve()
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else path.name
