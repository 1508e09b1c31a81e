"""sdist and wheel: what is in them, and that they work where the checkout is not.

The environments are empty but for packages of this one, which a path file lends them.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import mtpeft

ROOT = Path(__file__).parents[1]
PARTS = (
    'CHANGELOG.md', 'LICENSE', 'MANIFEST.in', 'NOTICE', 'README.md', 'pyproject.toml', 'setup.py',
    'requirements', 'configs', 'tools', 'mtpeft',
)  # fmt: skip
TRAIN = """
import numpy as np
from PIL import Image

import mtpeft
from mtpeft.cli import main
from mtpeft.utils.shipped import shipped_root

here = Path(sys.prefix)
assert Path(mtpeft.__file__).is_relative_to(here), mtpeft.__file__
assert shipped_root().is_relative_to(here), shipped_root()
assert main(['params', 'faar_swin-pico_scenes']) == 0
Path('own.py').write_text("_base_ = 'mtpeft::lora/lora_swin-pico_scenes.py'")
options = [f'{s}_dataloader.{o}' for s in ('train', 'val')
           for o in ('num_workers=0', 'persistent_workers=False')]
options += ['train_cfg.max_epochs=1', 'train_dataloader.dataset.length=2']
options += ['val_dataloader.dataset.length=1', 'train_dataloader.batch_size=2']
options += ['visualizer.vis_backends=[]']
assert main(['train', 'own.py', '--cfg-options', *options]) == 0
noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
Image.fromarray(noise).save('room.png')
assert main(['predict', 'work_dirs/own', 'room.png', '--out', 'predicted', '--tasks', 'depth',
             '--maps', 'npy', '--save', 'maps']) == 0
"""
EXPORT = """
assert not main(['export', 'work_dirs/own', 'own.onnx', '--tasks', 'depth', '--size', '96', '128',
                 '--no-check'])
"""
RUN = """
import sys

sys.modules.update(mtpeft=None, torch=None, timm=None)  # an import of one would fail
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession('own.onnx', providers=['CPUExecutionProvider'])
picture = np.asarray(Image.open('room.png'))
(found,) = session.run(['depth'], {'pictures': picture[None]})
wanted = np.load('predicted/maps/depth/room.npy')
assert found[0].shape == wanted.shape == (96, 128)
assert np.abs(found[0] - wanted).max() < 1e-4 * np.ptp(wanted), np.abs(found[0] - wanted).max()
"""


def files_of(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def run(*command: object, cwd: Path) -> str:
    words = [str(word) for word in command]
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    env |= {'OMP_NUM_THREADS': '1', 'PIP_NO_COMPILE': '1'}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f'{words}:\n{done.stdout}\n{done.stderr}'
    return done.stdout


@pytest.fixture(scope='module')
def archives(tmp_path_factory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it."""
    pytest.importorskip('build', reason='pip install -e ".[test]"')
    source = tmp_path_factory.mktemp('source')
    for part in PARTS:
        path = ROOT / part
        skipped = shutil.ignore_patterns('__pycache__')
        if path.is_dir():
            shutil.copytree(path, source / part, symlinks=True, ignore=skipped)
        else:
            shutil.copy(path, source / part)
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', 'dist', '.', cwd=source)
    (wheel,), (sdist,) = (source / 'dist').glob('*.whl'), (source / 'dist').glob('*.tar.gz')
    return dict(wheel=wheel, sdist=sdist)


@pytest.fixture(scope='module')
def environments(archives, tmp_path_factory) -> dict[str, Path]:
    """Folders of environments: each with one of the archives installed."""
    made = {}
    for kind, archive in archives.items():
        folder = tmp_path_factory.mktemp(kind)
        venv.create(folder / 'env', symlinks=True)
        python = folder / 'env/bin/python'
        site = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))',
                   cwd=folder).strip()  # fmt: skip
        # (a path file within that folder is not read: what is editable here is not there, and
        # setuptools' stand-in for distutils, which MMEngine asks for, is named)
        lent = [sysconfig.get_path('purelib')]
        if importlib.util.find_spec('_distutils_hack'):
            lent.append('import _distutils_hack; _distutils_hack.add_shim()')
        Path(site, 'lent.pth').write_text('\n'.join(lent) + '\n')
        run(python, '-m', 'pip', 'install', '--no-deps', '--no-index', '--ignore-installed',
            '--no-build-isolation', archive, cwd=folder)  # fmt: skip
        made[kind] = folder
    return made


def test_the_wheel_has_the_package_with_configs_and_scripts_and_nothing_else(archives):
    with zipfile.ZipFile(archives['wheel']) as file:
        found = {name for name in file.namelist() if '.dist-info/' not in name}
    moved = {f'mtpeft/.mim/{name}' for folder in ('configs', 'tools') for name in files_of(folder)}
    assert found == files_of('mtpeft') | moved
    assert {'mtpeft/py.typed', 'mtpeft/.mim/configs/_base_/default_runtime.py'} <= found


def test_the_sdist_builds_by_itself_and_has_neither_tests_nor_pages(archives):
    with tarfile.open(archives['sdist']) as file:
        found = {name.split('/', 1)[1] for name in file.getnames() if '/' in name}
        links = [member.name for member in file.getmembers() if member.issym() or member.islnk()]
    for folder in ('mtpeft', 'configs', 'tools', 'requirements'):
        assert files_of(folder) <= found
    assert {'LICENSE', 'NOTICE', 'README.md', 'setup.py', 'pyproject.toml'} <= found
    assert not links and not {name.split('/')[0] for name in found} & {'tests', 'docs', 'build'}


def test_both_install_the_same_files(environments):
    def installed(folder: Path) -> set[str]:
        (package,) = folder.glob('env/lib/python*/site-packages/mtpeft')
        return {p.relative_to(package).as_posix() for p in package.rglob('*.*') if p.is_file()}

    assert installed(environments['wheel']) == installed(environments['sdist'])


def test_the_command_says_its_versions(environments):
    folder = environments['sdist']
    lines = run(folder / 'env/bin/mtpeft', '--version', cwd=folder).splitlines()
    assert lines[0].split() == ['mtpeft', mtpeft.__version__]
    assert {'torch', 'timm', 'numpy', 'device'} <= {line.split()[0] for line in lines}


def test_it_trains_predicts_and_exports_in_a_folder_without_a_checkout(environments):
    folder = environments['wheel']
    exports = all(importlib.util.find_spec(name) for name in ('onnxscript', 'onnxruntime'))
    script = TRAIN + EXPORT * exports
    (folder / 'script.py').write_text('import sys\nfrom pathlib import Path\n' + script)
    said = run(folder / 'env/bin/python', 'script.py', cwd=folder)
    assert 'lora_shared' in said and 'mtpeft::' not in said
    assert (folder / 'work_dirs/own/epoch_1.pth').is_file()
    index = json.loads((folder / 'predicted/maps.json').read_text())
    assert list(index['tasks']) == ['depth'] and len(index['pictures']) == 1
    if exports:
        run(folder / 'env/bin/python', '-c', RUN, cwd=folder)
