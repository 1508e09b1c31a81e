"""Small files of results make the table alone, and count as finished runs."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.engine import CONFIG, ROOT, tiny
from helpers.suites import calls, compare, fake_tools, make_suite, run

from mtpeft.apis.suite import (
    ChangedRecipeError,
    Entry,
    ResultFiles,
    Suite,
    collect,
    load_suite,
    write_report,
)
from mtpeft.apis.suite.folder import BusyError, RunFolder
from mtpeft.apis.suite.recipe import fingerprint, resolve
from mtpeft.apis.suite.state import Run
from mtpeft.hooks.result_hook import processor_name

FIGURES = dict(
    semseg=dict(semseg=('mIoU', [40.0, 44.0], False)),
    depth=dict(depth=('rmse', [1.0, 0.8], True)),
    lora=dict(semseg=('mIoU', [42.0, 48.0], False), depth=('rmse', [0.9, 0.75], True)),
)


@pytest.fixture
def kept(tmp_path):
    """A finished suite and its files, which are all that is left of it."""
    suite = load_suite(str(make_suite(tmp_path, FIGURES, seeds=[0, 1])))
    run(suite, tmp_path)
    files = ResultFiles(tmp_path / 'results')
    files.keep(suite, collect(suite, tmp_path / 'work', files))
    write_report(suite, tmp_path / 'work')
    (tmp_path / 'work').rename(tmp_path / 'first')
    return suite, files


def test_the_table_of_the_files_is_that_of_the_runs(tmp_path, kept):
    suite, files = kept
    write_report(suite, tmp_path / 'work', files)
    tables = [(tmp_path / folder / 'table.csv').read_text() for folder in ('first', 'work')]
    assert tables[0] == tables[1] and len(list(csv.DictReader(tables[0].splitlines()))) == 2
    names = ('delta_m.png', 'baselines.json')
    assert all((tmp_path / 'work' / name).is_file() for name in names)
    assert '6 of the 6 results are from files' in (tmp_path / 'work/table.md').read_text()
    # some runs in their folders, some as files
    run(suite, tmp_path, entries=[suite.entries[2]])
    write_report(suite, tmp_path / 'work', files)
    assert (tmp_path / 'work/table.csv').read_text() == tables[0]


def test_a_file_is_a_finished_run(tmp_path, kept):
    suite, files = kept
    files.file('lora', 1).unlink()
    run(suite, tmp_path, results=files)
    assert calls(tmp_path) == ['lora 1 new']
    files.keep(suite, collect(suite, tmp_path / 'work', files))
    before = {file: file.stat().st_mtime_ns for file in files.path.iterdir()}
    assert len(before) == 6
    # what is kept is not written again
    files.keep(suite, collect(suite, tmp_path / 'work', files))
    assert {file: file.stat().st_mtime_ns for file in files.path.iterdir()} == before


def test_a_file_of_another_recipe_is_left_out_and_says_so(tmp_path, kept):
    suite, files = kept
    config = tmp_path / 'lora.py'
    config.write_text(config.read_text().replace('epochs = 1', 'epochs = 2'))
    states = {(r.entry.label, r.seed): r for r in collect(suite, tmp_path / 'work', files)}
    assert [states['lora', seed].status for seed in (0, 1)] == ['changed'] * 2
    assert states['lora', 1].reason == 'lora_seed1.json: epochs: 1 -> 2'
    row = write_report(suite, tmp_path / 'work', files).rows[1]
    assert row.seeds == () and row.delta_m is None
    line = 'lora seed 1 changed: lora_seed1.json: epochs: 1 -> 2'
    assert line in (tmp_path / 'work/table.md').read_text()
    with pytest.raises(ChangedRecipeError, match=r'(?s)2 of the 6.*lora seed 0: .*epochs: 1 -> 2'):
        run(suite, tmp_path, results=files)
    run(suite, tmp_path, results=files, redo=True)
    assert calls(tmp_path) == ['lora 0 new', 'lora 1 new']
    files.keep(suite, collect(suite, tmp_path / 'work', files))
    assert files.read('lora', 1)['resolved']['epochs'] == 2
    # what changes no figure is none, with files as with folders
    config.write_text(f'{config.read_text()}\nlog_level = "DEBUG"\n')
    (tmp_path / 'work').rename(tmp_path / 'second')
    assert {r.status for r in collect(suite, tmp_path / 'work', files)} == {'finished'}


def test_a_run_that_goes_on_is_not_its_old_file(tmp_path, kept):
    suite, files = kept
    config = tmp_path / 'lora.py'
    config.write_text(config.read_text().replace("'ok'", "'kill'"))
    suite = suite.with_seeds([0])
    run(suite, tmp_path, results=files, redo=True)
    (state,) = (r for r in collect(suite, tmp_path / 'work', files) if r.entry.label == 'lora')
    assert state.status == 'failed' and state.reason.startswith('killed')
    run(suite, tmp_path, results=files)
    assert calls(tmp_path) == ['lora 0 new', 'lora 0 resumed']


def test_a_method_beside_the_suite_is_found_by_its_file(tmp_path, kept):
    suite, files = kept
    content = files.read('lora', 0)
    content.update(label='other', config=str(Path(suite.entries[2].config).resolve()))
    files.file('other', 0).write_text(json.dumps(content))
    runs = {(r.entry.label, r.seed): r.status for r in collect(suite, tmp_path / 'work', files)}
    assert runs['other', 0] == 'finished' and runs['other', 1] == 'missing'


def test_a_damaged_file_is_named(tmp_path, kept):
    suite, files = kept
    files.file('depth', 0).write_text('{"label": ')
    with pytest.raises(ValueError, match=r'depth_seed0\.json is damaged'):
        collect(suite, tmp_path / 'work', files)


def test_a_file_says_how_to_make_the_run_and_nothing_of_the_machine(tmp_path):
    entry = Entry('mtlora', str(CONFIG), cfg_options={'train_cfg.max_epochs': 3})
    suite = Suite('tiny', 'scenes', (entry,), {'optim_wrapper.optimizer.lr': 0.5})
    options = {**suite.cfg_options, **entry.cfg_options}
    resolved = resolve(entry.config, options)
    result = dict(recipe=fingerprint(resolved), config=str(tmp_path / 'x.py'), metrics={})
    made = Run(entry, 4, RunFolder(tmp_path), 'finished', result, resolved=resolved)
    files = ResultFiles(tmp_path / 'results')
    files.keep(suite, [made])
    text = files.file('mtlora', 4).read_text()
    assert str(ROOT) not in text and str(tmp_path) not in text and len(text) < 10_000
    content = json.loads(text)
    config = str(Path(CONFIG).resolve().relative_to(ROOT))
    assert content['config'] == config
    assert content['command'] == (
        f'python tools/train.py {config} --seed 4 '
        '--cfg-options optim_wrapper.optimizer.lr=0.5 train_cfg.max_epochs=3'
    )
    assert content['cfg_options'] == entry.cfg_options and content['seed'] == 4
    # every option that matters, as the config has it
    tiny_config = tiny()
    assert content['resolved']['train_dataloader.batch_size'] == (
        tiny_config.train_dataloader.batch_size
    )
    assert content['resolved']['train_cfg.max_epochs'] == 3


def test_the_processor_has_a_name():
    assert processor_name() and '\n' not in processor_name()


COMPARE = """
import sys
from pathlib import Path
from mtpeft.cli import main
from mtpeft.utils import shipped
shipped.shipped_root = lambda: Path({root!r})
raise SystemExit(main(['compare', *sys.argv[1:]]))
"""


def test_two_processes_share_the_runs(tmp_path):
    """The first run of either ends only when the other has begun one."""
    suite = make_suite(tmp_path, FIGURES, seeds=[0, 1], semseg='meet')
    fake_tools(tmp_path)
    words = ['--suite', suite, '--work-dir', tmp_path / 'work', '--results', tmp_path / 'kept']
    command = [sys.executable, '-c', COMPARE.format(root=str(tmp_path)), *map(str, words)]
    paths = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]))
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=paths) for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]
    labels = [(label, seed) for label in FIGURES for seed in (0, 1)]
    assert sorted(calls(tmp_path)) == sorted(f'{label} {seed} new' for label, seed in labels)
    finished = [text.count(': finished in') for text in said]
    assert sum(finished) == 6 and min(finished) >= 1, said
    assert {file.name for file in (tmp_path / 'kept/suite').iterdir()} == {
        f'{label}_seed{seed}.json' for label, seed in labels
    }


def test_a_fresh_clone_makes_the_table_from_the_files_alone(tmp_path, monkeypatch, capsys):
    suite = make_suite(tmp_path, FIGURES)
    fake_tools(tmp_path)

    def call(*more):
        words = ('--suite', suite, '--work-dir', tmp_path / 'work', *more)
        return compare(monkeypatch, capsys, *words, root=tmp_path)[0]

    assert call('--results', tmp_path / 'docs/results') == 0
    (tmp_path / 'work').rename(tmp_path / 'first')
    # --collect finds them where they lie, and they count as finished where they are named
    for words in (['--collect'], ['--results', tmp_path / 'docs/results']):
        assert call(*words) == 0 and calls(tmp_path) == []
        tables = [(tmp_path / folder / 'table.csv').read_text() for folder in ('first', 'work')]
        assert tables[0] == tables[1]
    # who makes the runs again gets runs
    assert call() == 0 and len(calls(tmp_path)) == 3


def test_a_folder_that_was_moved_away_is_not_held(tmp_path):
    folder = RunFolder(tmp_path / 'seed0')
    with folder.locked():
        pass
    # opened by a process that waits, before another one moves the folder and makes it again
    with open(folder.path / '.lock', 'a+') as file:
        folder.move_away()
        with folder.locked(), pytest.raises(BusyError, match='moved'):
            folder._lock(file, 0)


def test_what_plugins_are_called_is_no_option_of_a_run(tmp_path):
    """A result of plugins in a list is one of the same plugins by name."""
    lora = "dict(cfg=dict(type='LoRA', rank=4), targets=['qkv'])"
    for name, plugins in dict(listed=f'[{lora}]', named=f'dict(shared={lora}, lanes=None)').items():
        (tmp_path / f'{name}.py').write_text(f'model = dict(backbone=dict(plugins={plugins}))')
    listed, named = (resolve(str(tmp_path / f'{name}.py'), {}) for name in ('listed', 'named'))
    assert listed == named and listed['model.backbone.plugins.0.cfg.rank'] == 4
    options = {'model.backbone.plugins.shared.cfg.rank': 8}
    assert fingerprint(resolve(str(tmp_path / 'named.py'), options)) != fingerprint(named)
