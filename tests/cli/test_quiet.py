"""What reaches the terminal of a command, and that its log file has everything."""

import contextlib
import importlib
import io
import re
import sys
import warnings
from pathlib import Path

import mmengine.hooks
import mmengine.runner
import pytest
from helpers.engine import CONFIG
from mmengine.logging import MMLogger, print_log

from mtpeft.cli import main
from mtpeft.cli.dispatch import dispatch
from mtpeft.cli.quiet import quiet
from mtpeft.utils.details import log_detail

ENGINE = Path(mmengine.runner.__file__)
HOOKS = Path(mmengine.hooks.__file__)


@pytest.fixture
def loggers():
    """Loggers of a test, which go again."""
    before = dict(MMLogger._instance_dict)
    yield
    MMLogger._instance_dict.clear()
    MMLogger._instance_dict.update(before)


def said_from(path, code, **names):
    """Run code as if it were in a file."""
    exec(compile(code, str(path), 'exec'), names)


def test_the_terminal_has_ours_and_the_file_everything(loggers, tmp_path, capsys):
    with quiet():
        logger = MMLogger.get_instance('q1', log_file=str(tmp_path / 'log'))
        for path, text in ((ENGINE, 'environment'), (HOOKS, 'loss'), ('own_hook.py', 'own')):
            said_from(path, 'logger.info(text)', logger=logger, text=text)
        said_from(ENGINE, "print_log('loading', 'current')", print_log=print_log)
        said_from('mine.py', "print_log('table', 'current')", print_log=print_log)
        log_detail('long table')
        logger.warning('careful')
        said_from(ENGINE, "logger.warning('this is deprecated')", logger=logger)
        said_from(ENGINE, "logger.warning('keys are missing')", logger=logger)
        logger.error('broken')
    shown = capsys.readouterr().out
    for text in ('loss', 'own', 'table', 'careful', 'keys are missing', 'broken'):
        assert f'{text}\n' in shown
    for text in ('environment', 'loading', 'long table', 'deprecated'):
        assert text not in shown
        assert text in (tmp_path / 'log').read_text()
    assert all(f'{text}\n' in (tmp_path / 'log').read_text() for text in ('loss', 'own', 'broken'))


def test_afterwards_loggers_are_as_they_were(loggers, capsys):
    make, show = MMLogger.__init__, warnings.showwarning
    old = MMLogger.get_instance('q2')
    with quiet(), pytest.raises(ZeroDivisionError), quiet():
        1 / 0  # noqa: B018
    said_from(ENGINE, "logger.info('environment')", logger=old)
    assert 'environment' in capsys.readouterr().out
    assert MMLogger.__init__ is make and warnings.showwarning is show


def test_warnings_of_libraries_wait_for_the_log_file(loggers, tmp_path, capsys):
    with quiet():
        warnings.simplefilter('always')
        warnings.warn_explicit('too early', UserWarning, str(ENGINE), 1)
        warnings.warn_explicit('of ours', UserWarning, str(Path(main.__code__.co_filename)), 1)
        MMLogger.get_instance('q3', log_file=str(tmp_path / 'log'))
        warnings.warn_explicit('old name', FutureWarning, '/x/site-packages/scipy/a.py', 1)
        warnings.warn_explicit('mine', UserWarning, str(tmp_path / 'my_hook.py'), 1)
    out, err = capsys.readouterr()
    assert err == 'WARNING of ours\nWARNING mine\n' and 'too early' not in out
    text = (tmp_path / 'log').read_text()
    assert 'too early' in text and 'FutureWarning: old name' in text


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Terminal and log file of a run, without and with ``--verbose``."""
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'base.py').write_text(f'_base_ = {str(CONFIG)!r}\nexperiment_name = "x"\n')
    options = ['train_cfg.max_epochs=1', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False', 'visualizer.vis_backends=[]']
    options += ['default_hooks.logger.interval=1']
    made = {}
    for more in ([], ['-v']):
        work = folder / f'work{len(made)}'
        named = f'experiment_name=quiet{len(made)}'
        words = ['train', folder / 'base.py', '--work-dir', work, *more, '--cfg-options', named]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main([*map(str, words), *options]) == 0
        (log,) = work.glob('*/*.log')
        made[bool(more)] = out.getvalue(), log.read_text()
    return made


def test_the_first_screen_says_what_runs_where_it_writes_and_what_trains(runs):
    out, log = runs[False]
    lines = out.splitlines()
    assert lines[0].startswith('mtpeft ') and lines[0].endswith(': train')
    named = {line.split()[0]: line for line in lines[1:7]}
    assert named['tasks'].endswith('semseg, depth') and named['length'].endswith('1 epoch')
    assert 'base.py' in named['config'] and 'work0' in named['writes']
    (trained,) = re.findall(r'^trainable +([\d,]+)$', log, re.M)
    assert f' {trained} of ' in named['parameters'].replace('parameters', '')


def test_then_come_losses_and_one_table(runs):
    out, _ = runs[False]
    assert out.count('Epoch(train)') == 3 and out.count('semseg       mIoU*') <= 1
    assert out.count('mIoU*') == 1 and len(out.splitlines()) < 40
    for text in ('Checkpoints will be', 'Hooks will be executed', 'Trainable parameters'):
        assert text not in out


def test_verbose_shows_what_the_file_has(runs):
    out, log = runs[True]
    for text in ('Hooks will be executed', 'Checkpoints will be saved', 'Trainable parameters'):
        assert text in out and text in log


def test_the_file_has_the_same_however_quiet_the_terminal_is(runs):
    def beginnings(log):
        """Kinds of lines, without times and figures."""
        found = re.findall(r'^[\d/]+ [\d:]+ - \w+ - (\w+) - (.{0,12})', log, re.M)
        return [line for line in found if line[0] != 'WARNING']

    assert beginnings(runs[False][1]) == beginnings(runs[True][1])
    assert len(beginnings(runs[True][1])) > 8


@pytest.mark.parametrize('loud', [False, True])
def test_a_library_that_warns_when_it_is_imported_is_heard_on_request(monkeypatch, capsys, loud):
    def importing(name):
        if name.endswith('.params'):
            warnings.warn_explicit('no operator', UserWarning, str(ENGINE), 1)
        return importlib.import_module(name)

    monkeypatch.setattr(sys.modules[dispatch.__module__], 'import_module', importing)
    with warnings.catch_warnings(), pytest.raises(SystemExit, match='0'):
        warnings.simplefilter('always')
        warnings.showwarning = lambda message, *args: print(message)
        main(['params', *(['-v'] if loud else []), '--help'])
    assert ('no operator' in capsys.readouterr().out) == loud
