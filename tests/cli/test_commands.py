"""Words of a command line: what they lead to, and what is said where they lead nowhere."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from mtpeft import cli
from mtpeft.cli import config_arguments, main, params
from mtpeft.cli.dispatch import commands_of
from mtpeft.utils.dist import LAUNCHERS

ROOT = Path(__file__).parents[2]
GROUPS = [cli, import_module('mtpeft.cli.data')]
COMMANDS = [(group, name) for group in GROUPS for name in commands_of(group)]
SCRIPTS = {
    'train.py': 'train', 'test.py': 'test', 'compare.py': 'compare',
    'analysis_tools/get_params.py': 'params', 'misc/check_dataset.py': 'data check',
    'misc/browse_dataset.py': 'data browse', 'dataset_converters/scenes_export.py': 'data scenes',
    'dataset_converters/nyudv2.py': 'data nyudv2', 'model_converters/publish_model.py': 'publish',
    'model_converters/merge_adapters.py': 'merge',
}  # fmt: skip


@pytest.mark.parametrize(('group', 'name'), COMMANDS, ids=[name for _, name in COMMANDS])
def test_each_command_has_help(group, name, capsys):
    words = [*group.__name__.split('.')[2:], name, '--help']
    if hasattr(import_module(f'{group.__name__}.{name}'), 'COMMANDS'):
        assert main(words) == 0
    else:
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
        assert '--verbose' in capsys.readouterr().out


def test_the_list_of_commands_is_that_of_modules(capsys):
    assert main(['--help']) == 0
    text = capsys.readouterr().out
    for name, said in commands_of(cli).items():
        assert f'  {name}' in text and said in text
    missing = set(cli.COMMANDS) - set(commands_of(cli))
    assert not {line.split()[0] for line in text.splitlines() if line.startswith('  ')} & missing


def test_help_imports_nothing_heavy():
    code = (
        'import sys\nfrom mtpeft.cli import main\nmain(["--help"])\n'
        'sys.exit("torch" in sys.modules or "cv2" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=120).returncode == 0


@pytest.mark.parametrize(('words', 'meant'), [
    (['trian'], "'train'"), (['data', 'chekc'], "'check'"), (['par'], "'params'"),
])  # fmt: skip
def test_a_mistyped_command_gets_the_nearest(words, meant, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f'Did you mean {meant}' in said and repr(words[-1]) in said


class OfOursError(ValueError):
    """As ConfigError is."""

    __module__ = 'mtpeft.somewhere'


@pytest.mark.parametrize(('error', 'said'), [
    (OfOursError('no rank of 0'), 'OfOursError: no rank of 0\n'),
    (FileNotFoundError('a.pth is not there'), 'FileNotFoundError: a.pth is not there\n'),
    (type('K', (KeyError,), {'__module__': 'mtpeft.x'})('no task a'), 'K: no task a\n'),
])  # fmt: skip
def test_errors_in_words_come_without_a_traceback(error, said, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr(params, 'run', fail)
    assert main(['params', 'x']) == 1
    out, err = capsys.readouterr()
    assert err == said and 'Traceback' not in out
    with pytest.raises(type(error)):
        main(['params', 'x', '-v'])


def test_errors_of_others_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(params, 'run', lambda args: {}['a'])
    with pytest.raises(KeyError):
        main(['params', 'x'])


def test_without_a_command_the_list_is_shown(capsys):
    assert main([]) == 2 and main(['data']) == 2
    assert capsys.readouterr().out.count('commands:') == 2


@pytest.mark.parametrize('command', ['train', 'test', 'params', 'data check'])
def test_a_mistyped_config_gets_the_nearest(command):
    words = [*command.split(), 'lora_swin-pico_scens', *(['x.pth'] if command == 'test' else [])]
    with pytest.raises(SystemExit, match='no such config. Did you mean lora_swin-pico_scenes'):
        main(words)


@pytest.mark.parametrize(('script', 'command'), SCRIPTS.items())
def test_scripts_are_the_same_code(script, command):
    text = (ROOT / 'tools' / script).read_text()
    assert f'run_script({", ".join(map(repr, command.split()))})' in text
    assert len(text.splitlines()) < 10


def test_suites_and_configs_of_a_suite_have_names(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    words = ['--suite', 'scenes', '--dry-run', 'lora', 'faar_swin-pico_scenes']
    assert main(['compare', *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split()[2]).stem for line in lines] == [
        'lora_swin-pico_scenes', 'faar_swin-pico_scenes'
    ]  # fmt: skip
    assert all(Path(word).is_file() for line in lines for word in line.split()[1:3])


def test_the_launchers_are_those_of_runs():
    assert config_arguments.LAUNCHERS is LAUNCHERS


def test_what_matters_is_in_the_versions(capsys):
    assert main(['--version']) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names[:3] == ['mtpeft', 'Python', 'torch'] and names[-1] == 'device'
    assert any('mmcv' in name for name in names) and any('opencv' in name for name in names)
