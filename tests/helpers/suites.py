"""Suites of runs that tests/data/fake_train.py makes."""

from pathlib import Path

from helpers.engine import ROOT

from mtpeft.apis.suite import SuiteRunner, collect


def make_suite(folder: Path, figures: dict, seeds=(0,), extra=(), **behaviour) -> Path:
    """Write configs and a suite; entries of one task are single-task ones."""
    entries = []
    for label, figure in figures.items():
        text = (
            f'behaviour = {behaviour.get(label, "ok")!r}\nepochs = 1\nfigures = {figure!r}\n'
            'counts = (3000, 2500, 2000)\nseconds = (0.2, 0.4)\n'
        )
        (folder / f'{label}.py').write_text(text)
        role = 'single_task' if len(figure) == 1 else 'method'
        entries.append(dict(label=label, config=f'{label}.py', role=role))
    for label in extra:
        entries.append(dict(label=label, config=f'{label}.py'))
        if label != 'missing':
            (folder / f'{label}.py').write_text(f'behaviour = {label!r}\n')
    file = folder / 'suite.py'
    file.write_text(f'entries = {entries!r}\nseeds = {list(seeds)!r}\n')
    return file


def run(suite, folder: Path, entries=None, say=lambda text: None, redo=False) -> None:
    """Run a suite in ``folder/work``."""
    fake = ROOT / 'tests' / 'data' / 'fake_train.py'
    SuiteRunner(suite, folder / 'work', fake, say=say, redo=redo).run(entries)


def calls(folder: Path) -> list[str]:
    """What was run, in this order."""
    file = folder / 'work' / 'calls.txt'
    return file.read_text().splitlines() if file.is_file() else []


def statuses(suite, folder: Path) -> dict[str, str]:
    """Status by label, of the first seed."""
    return {r.entry.label: r.status for r in reversed(collect(suite, folder / 'work'))}
