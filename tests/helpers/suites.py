"""Suites of runs that tests/data/fake_train.py makes."""

from pathlib import Path

from helpers.engine import ROOT

from mtpeft.apis.suite import SuiteRunner, collect
from mtpeft.cli import main
from mtpeft.utils import shipped


def make_suite(
    folder: Path, figures: dict, seeds=(0,), extra=(), own_seeds=(), stages=(), **behaviour
) -> Path:  # fmt: skip
    """Write configs and a suite; entries of one task are single-task ones."""
    own_seeds, stages = dict(own_seeds), dict(stages)
    entries = []
    for label, figure in figures.items():
        text = (
            f'behaviour = {behaviour.get(label, "ok")!r}\nepochs = 1\nfigures = {figure!r}\n'
            'counts = (3000, 2500, 2000)\nseconds = (0.2, 0.4, 0.3)\n'
        )
        (folder / f'{label}.py').write_text(text)
        role = 'single_task' if len(figure) == 1 else 'method'
        more = dict(seeds=own_seeds.get(label), stage=stages.get(label, 0))
        entries.append(dict(label=label, config=f'{label}.py', role=role, **more))
    for label in extra:
        entries.append(dict(label=label, config=f'{label}.py'))
        if label != 'missing':
            (folder / f'{label}.py').write_text(f'behaviour = {label!r}\n')
    file = folder / 'suite.py'
    file.write_text(f'entries = {entries!r}\nseeds = {list(seeds)!r}\n')
    return file


def run(suite, folder: Path, entries=None, say=lambda text: None, **options) -> None:
    """Run a suite in ``folder/work``."""
    fake = ROOT / 'tests' / 'data' / 'fake_train.py'
    SuiteRunner(suite, folder / 'work', fake, say=say, **options).run(entries)


def fake_tools(root: Path) -> None:
    """A ``tools/train.py`` in ``root`` that is the fake one."""
    (root / 'tools').mkdir()
    (root / 'tools/train.py').write_text((ROOT / 'tests/data/fake_train.py').read_text())


def compare(monkeypatch, capsys, *words, root=ROOT) -> tuple[int, str]:
    """Exit status and output of ``mtpeft compare`` with the scripts and results in ``root``."""
    monkeypatch.setattr(shipped, 'shipped_root', lambda: Path(root))
    return main(['compare', *map(str, words)]), capsys.readouterr().out


def calls(folder: Path) -> list[str]:
    """What was run, in this order."""
    file = folder / 'work' / 'calls.txt'
    return file.read_text().splitlines() if file.is_file() else []


def statuses(suite, folder: Path) -> dict[str, str]:
    """Status by label, of the first seed."""
    return {r.entry.label: r.status for r in reversed(collect(suite, folder / 'work'))}
