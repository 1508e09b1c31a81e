"""What the documentation shows runs, and every file and option it names exists."""

import re
import runpy
import shlex
import shutil
import sys
import types
from pathlib import Path

import pytest
from helpers.markdown import PAGES, ROOT, blocks, commands, own_commands
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from mtpeft import registry
from mtpeft.cli import main
from mtpeft.utils.shipped import find_config

MAX_SKIPPED = 3
#: commands whose first word is a config
TAKE_CONFIGS = ('train', 'test', 'params', 'merge')
WITH_CODE = [page for page in PAGES if blocks(page, 'python')]
OWN = sorted({(page, command) for page in PAGES for command in own_commands(page)})
COMMANDS = sorted({(page, command) for page in PAGES for command in commands(page)})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the checkout; what snippets write or register goes away again."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    registries = [r for r in vars(registry).values() if isinstance(r, registry._Registry)]
    for known in registries:
        known.import_from_location()
    before = [dict(known._module_dict) for known in registries]
    yield tmp_path
    for known, modules in zip(registries, before, strict=True):
        known._module_dict.clear()
        known._module_dict.update(modules)
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('page', WITH_CODE, ids=lambda page: page.name)
def test_python_blocks_run_in_their_order(page, checkout, monkeypatch):
    namespace = {'__name__': 'snippet'}
    for block in blocks(page, 'python'):
        if block.reason is None:
            # tracebacks name the page and its line
            code = compile('\n' * (block.line - 1) + block.code, str(page), 'exec')
            run(block, code, namespace, checkout, monkeypatch)


def run(block, code, namespace, checkout, monkeypatch):
    """A block as what it says it is: a config, a module of the package, tests, or plain code."""
    kind = (block.file or '').split('/')[0]
    if kind == 'configs':
        path = checkout / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding='utf-8')
        cfg = Config.fromfile(path)
        init_default_scope(cfg.get('default_scope', 'mtpeft'))
        registry.MODELS.build(cfg.model)
    elif kind == 'mtpeft':
        name = block.file.removesuffix('.py').replace('/', '.')
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(code, vars(module))
    else:
        exec(code, namespace)
        tests = [f for name, f in namespace.items() if name.startswith('test_')]
        for test in tests if kind == 'tests' else ():
            test()


def test_few_blocks_are_not_run_and_say_why():
    skipped = [(page.name, b) for page in PAGES for b in blocks(page, 'python') if b.reason]
    # what a test of its own runs is run
    runners = [(entry, re.search(r'tests/\S+\.py', entry[1].reason)) for entry in skipped]
    skipped = [entry for entry, test in runners if not (test and (ROOT / test[0]).is_file())]
    assert len(skipped) <= MAX_SKIPPED, skipped


@pytest.mark.parametrize(
    ('page', 'command'), COMMANDS, ids=[f'{p.name}: {c[:60]}' for p, c in COMMANDS]
)
def test_commands_name_files_and_options_that_exist(page, command, capsys, monkeypatch):
    words = shlex.split(command)
    words = words[words[0] == 'python':]  # fmt: skip
    tool, rest = ROOT / words[0], words[1:]
    assert tool.is_file(), f'{words[0]} does not exist'
    written = {block.file for block in blocks(page)}
    for word in rest:
        if word.startswith('configs/') and '*' not in word and word not in written:
            assert (ROOT / word).is_file(), f'{word} does not exist'
    if tool.name == 'gpu.sh':  # (it takes no options)
        assert not [word for word in rest if word.startswith('--')]
        return
    if tool.suffix == '.sh':
        # the scripts pass what follows their own arguments on to train.py or test.py
        tool = ROOT / 'tools' / f'{tool.stem.split("_")[1]}.py'
    known = options_of(tool, capsys, monkeypatch)
    for word in rest:
        if word.startswith('--'):
            assert word.split('=')[0] in known, f'{tool.name} has no option {word}: {known}'


@pytest.mark.parametrize(('page', 'command'), OWN, ids=[f'{p.name}: {c[:60]}' for p, c in OWN])
def test_commands_of_mtpeft_name_configs_and_options_that_exist(page, command, capsys):
    words = shlex.split(command)[1:]
    if words[0].startswith('-'):
        assert main(words) == 0
        return
    named = words[: 2 if words[0] == 'data' else 1]
    with pytest.raises(SystemExit) as stopped:
        main([*named, '--help'])
    assert stopped.value.code == 0
    known = set(re.findall(r'--[a-z][\w-]*|-v', capsys.readouterr().out))
    rest = words[len(named) :]
    for word in rest:
        assert word[0] != '-' or word.split('=')[0] in known, f'no option {word}: {known}'
    written = {Path(block.file).name for block in blocks(page) if block.file}
    if named[0] in TAKE_CONFIGS and rest[0] not in written:
        find_config(rest[0])


def options_of(tool, capsys, monkeypatch):
    """The options that the tool's own --help names."""
    monkeypatch.setattr(sys, 'argv', [str(tool), '--help'])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(tool), run_name='__main__')
    assert stopped.value.code == 0
    return set(re.findall(r'--[a-z][\w-]*', capsys.readouterr().out))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_files_named_in_the_text_exist(page):
    text = re.sub(r'^```.*?^```$', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    names = re.findall(r'`((?:configs|tests|tools|docs|mtpeft)/[\w./*-]+)`', text)
    written = {block.file for block in blocks(page)}
    for name in names:
        if 'NAME' not in name and name not in written:
            assert list(ROOT.glob(name.rstrip('/'))), f'{page.name}: {name} does not exist'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    text = re.sub(r'```.*?```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL)
    for target in re.findall(r'\]\((?!https?:|#|mailto:)([^)#\s]+)', text):
        assert (page.parent / target).exists(), f'{page.name}: {target} does not exist'
