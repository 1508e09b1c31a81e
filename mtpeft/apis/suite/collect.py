"""What is there of a suite's runs."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtpeft.apis.read_config import load_config
from mtpeft.apis.suite import recipe
from mtpeft.apis.suite.baselines import baselines_of
from mtpeft.apis.suite.folder import RunFolder
from mtpeft.apis.suite.results import ResultFiles
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import SINGLE_TASK, Entry, Suite, run_options


def collect(
    suite: Suite, work_dir: str | Path, results: ResultFiles | None = None
) -> list[Run]:  # fmt: skip
    """The state of every run: entry by entry, seed by seed.

    Entries that an earlier call added (configs beside those of the suite) are found by their
    folders in ``work_dir``, or their files, and come last.

    Args:
        suite: The suite.
        work_dir: Where its runs were made.
        results: Files that count where a run is not finished in ``work_dir``.

    Raises:
        ValueError: a file is damaged.
    """
    entries = [*suite.entries, *_added(suite, Path(work_dir), results)]
    runs = []
    for entry in entries:
        resolved, named, reason = None, {}, ''
        try:
            about = vars(suite.about_of(entry))
            cfg = load_config(entry.config, run_options(suite, entry), **about)
            named, resolved = baselines_of(cfg), recipe.resolved(cfg)
        # a config is code: anything can happen
        except Exception as error:
            reason = one_line(f'{type(error).__name__}: {error}')
        for seed in suite.seeds_of(entry):
            folder = RunFolder(Path(work_dir) / entry.label / f'seed{seed}')
            run = dataclasses.replace(
                _state(entry, seed, folder, resolved, reason), named=named
            )  # fmt: skip
            runs.append(_with_file(run, results) if results else run)
    return runs


def listed(runs: Sequence[Run], chosen: Sequence[Entry]) -> list[Run]:
    """The runs of a table in which only ``chosen`` entries were asked for.

    Finished runs of single-task networks stay, since they are the baselines of Delta_m.
    """
    return [
        run for run in runs
        if run.entry in chosen
        or (run.entry.role == SINGLE_TASK and run.status == 'finished')
    ]  # fmt: skip


def refreshed(run: Run) -> Run:
    """The state of a run's folder now."""
    return _state(run.entry, run.seed, run.folder, run.resolved, run.reason)


def one_line(text: str, limit: int = 300) -> str:
    """The beginning of a text, on one line."""
    text = ' '.join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + '...'


def _state(
    entry: Entry, seed: int, folder: RunFolder, resolved: Mapping | None, reason: str
) -> Run:  # fmt: skip
    if resolved is None:
        return Run(entry, seed, folder, 'broken', reason=reason)
    noted, failure = folder.recipe(), folder.failure()

    def state(status: str, why: str = '', result: dict | None = None) -> Run:
        return Run(entry, seed, folder, status, result, why, resolved)

    if noted is None:
        return state('missing', 'not run yet')
    result, last = folder.result(), folder.last_checkpoint()
    if not recipe.same(noted['resolved'], resolved):
        if result is None and last is None:
            # such as an entry that failed at once and was then put right
            return state('missing', 'not run yet')
        return state('changed', recipe.difference(noted['resolved'], resolved))
    if result is not None and result['recipe'] == noted['recipe']:
        return state('finished', result=result)
    if failure is not None:
        return state('failed', failure['reason'])
    return state('unfinished', f'goes on from {last}' if last else 'no checkpoint yet')


def _with_file(run: Run, results: ResultFiles) -> Run:
    """The run, with what its result file says where its folder says less."""
    if run.status in ('finished', 'broken'):
        return run
    content = results.read(run.entry.label, run.seed)
    if content is None:
        return run
    file = results.file(run.entry.label, run.seed)
    if recipe.same(content['resolved'], run.resolved):
        return dataclasses.replace(run, status='finished', reason='', result=content, file=file)
    if run.status == 'missing':
        reason = f'{file.name}: {recipe.difference(content["resolved"], run.resolved)}'
        return dataclasses.replace(run, status='changed', reason=reason)
    return run


def _added(suite: Suite, work_dir: Path, results: ResultFiles | None) -> Sequence[Entry]:
    known = {entry.label for entry in suite.entries}
    added: dict[str, Entry] = {}
    for file in sorted(work_dir.glob('*/seed*/recipe.json')):
        label = file.parts[-3]
        if label in known or label in added or '.old' in file.parts[-2]:
            continue
        noted = RunFolder(file.parent).recipe()
        added[label] = Entry(label, noted['config'], noted['role'], noted['cfg_options'])
    for entry in results.entries() if results else ():
        if entry.label not in known:
            added.setdefault(entry.label, entry)
    return list(added.values())
