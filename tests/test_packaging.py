"""What pip is told: dependencies with reasons, extras, the version, the weights."""

import ast
import re
import runpy
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement

import mtpeft

ROOT = Path(__file__).parents[1]
#: extras that the package imports something of
INSTALLED = ('runtime', 'mm', 'data', 'demo', 'export', 'balance')
FILES = sorted((ROOT / 'requirements').glob('*.txt'))
LINES = [(path, line) for path in FILES for line in path.read_text().splitlines() if line.strip()]


@pytest.fixture(scope='module')
def options():
    """The arguments of setup()."""
    taken = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, 'setup', lambda **given: taken.update(given))
        runpy.run_path(str(ROOT / 'setup.py'))
    return taken


def names(lines):
    return {Requirement(line).name for line in lines}


def listed(name):
    """Names of the packages in a requirements file."""
    text = (ROOT / 'requirements' / f'{name}.txt').read_text()
    return set(re.findall(r'^[\w.-]+', text, flags=re.MULTILINE))


def test_dependencies_are_those_of_the_requirements_files(options):
    assert names(options['install_requires']) == listed('runtime') >= {'torch', 'timm', 'numpy'}
    extras = options['extras_require']
    assert set(extras) >= {'mm', 'test', 'docs', 'demo', 'all'}
    assert {path.stem for path in FILES} == {'runtime', *extras} - {'all'}
    for extra in set(extras) - {'all'}:
        assert names(extras[extra]) == listed(extra) != set()
    assert set(extras['all']) == {line for extra in set(extras) - {'all'} for line in extras[extra]}


@pytest.mark.parametrize(
    ('path', 'line'), LINES, ids=[line.split('#')[0].strip() for _, line in LINES]
)
def test_bounds_are_lower_ones_and_have_a_reason(path, line):
    requirement, _, reason = line.partition('#')
    operators = [specifier.operator for specifier in Requirement(requirement).specifier]
    assert operators == ['>='], f'{path.name}: {line}'
    assert len(reason.split()) >= 2, f'{path.name}: {line} says no reason'


def imported(path):
    """Top-level names of the modules that a file imports, at whatever level of it."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split('.')[0]


def top_level(name):
    """What an installed distribution can be imported as."""
    try:
        found = distribution(name)
    except PackageNotFoundError:  # of an extra: most are imported by their own name
        return {name.replace('-', '_')}
    text = found.read_text('top_level.txt')
    if text:
        return set(text.split())
    record = found.read_text('RECORD') or ''
    return {line.partition('/')[0] for line in record.splitlines() if '/__init__.py,' in line}


def test_what_is_imported_is_required():
    files = [p for folder in ('mtpeft', 'tools') for p in (ROOT / folder).rglob('*.py')]
    foreign = {name for path in files for name in imported(path)}
    foreign -= {*sys.stdlib_module_names, 'mtpeft'}
    known = {name for extra in INSTALLED for name in listed(extra)}
    installed = {top for name in known for top in top_level(name)}
    assert not foreign - installed, 'imported, and in no requirements file'


def test_the_default_backends_are_installed_with_the_package():
    runtime = (ROOT / 'configs/_base_/default_runtime.py').read_text()
    assert ('TensorboardVisBackend' in runtime) <= ('tensorboard' in listed('runtime'))


def test_version(options):
    assert options['version'] == mtpeft.__version__
    assert re.fullmatch(r'\d+\.\d+\.\d+', mtpeft.__version__)
    assert f'## {mtpeft.__version__} ' in (ROOT / 'CHANGELOG.md').read_text()
    assert f'\nversion: {mtpeft.__version__}\n' in (ROOT / 'CITATION.cff').read_text()


def test_python_versions(options):
    assert options['python_requires'] == '>=3.10'
    minors = [c.rsplit('.', 1)[1] for c in options['classifiers'] if ':: 3.' in c]
    assert minors == ['10', '11', '12', '13']


def test_every_package_is_included(options):
    inits = (ROOT / 'mtpeft').rglob('__init__.py')
    assert {'.'.join(p.parent.relative_to(ROOT).parts) for p in inits} == set(options['packages'])


def test_weights_that_configs_name_are_shipped(options):
    named = {
        name
        for path in (ROOT / 'configs').rglob('*.py')
        for name in re.findall(r"'mtpeft:([\w.-]+)'", path.read_text())
    }
    assert named
    data = ROOT / 'mtpeft'
    for name in named:
        files = [p for p in (data / 'weights').glob('*') if p.stem == name or p.name == name]
        assert files, f"no file in mtpeft/weights for 'mtpeft:{name}'"
        for file in files:
            path = file.relative_to(data).as_posix()
            assert any(fnmatch(path, pattern) for pattern in options['package_data']['mtpeft'])


@pytest.mark.parametrize('hidden', [('mmengine', 'mmcv', 'mmseg'), ('mmseg',)])
def test_import_without_the_mm_packages_names_the_command(hidden):
    code = (
        'import importlib.util as util\n'
        'find = util.find_spec\n'
        f'util.find_spec = lambda n, *a: None if n.split(".")[0] in {hidden!r} else find(n, *a)\n'
        'import mtpeft\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and 'ImportError' in done.stderr
    assert f'mtpeft needs {", ".join(hidden)}, which' in done.stderr
    assert 'pip install -e ".[mm]"' in done.stderr


def test_the_version_is_read_and_not_run():
    source = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    called = {n.func.id for n in ast.walk(source)
              if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
    assert not called & {'exec', 'eval', 'compile', '__import__'}
