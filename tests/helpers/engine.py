"""Runs of tests/data/tiny_engine.py."""

import atexit
import itertools
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import timm
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mtpeft.apis import build_runner

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'tests' / 'data' / 'tiny_engine.py'
_number = itertools.count()
# scenes that runs of this process have rendered
SCENES = tempfile.mkdtemp(prefix='scenes')
atexit.register(shutil.rmtree, SCENES, ignore_errors=True)
# the slow parts of a short run: asking compilers for their versions, formatting the config
Runner._log_env = lambda self, env_cfg: None
# (what is dumped stays readable, since this holds for every test of the session)
Config.pretty_text = property(
    lambda self: ''.join(f'{key} = {value!r}\n' for key, value in self.to_dict().items())
)


def write_base(target: Path, seed: int = 3) -> Path:
    """Random weights of the config's backbone as a file, which makes them pretrained ones."""
    options = dict(Config.fromfile(CONFIG).model.backbone.backbone)
    name = options.pop('type').split('.', 1)[1]
    options.pop('pretrained')
    torch.manual_seed(seed)
    torch.save(timm.create_model(name, num_classes=0, **options).state_dict(), target)
    return target


def tiny(base: Path | None = None, **options) -> Config:
    """The tiny config on the base weights in a file, with options as of --cfg-options."""
    cfg = Config.fromfile(CONFIG)
    # runs of one process that start in one second would share log and message hub
    cfg.experiment_name = f'tiny{next(_number)}'
    cfg.log_level = 'WARNING'
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.cache = SCENES
    if base is not None:
        cfg.model.backbone.backbone.pretrained = str(base)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return cfg


def train(cfg: Config, work_dir: Path, **options):
    """Train; the runner."""
    runner = build_runner(cfg, work_dir=str(work_dir), **options)
    runner.train()
    return runner


def run_tool(*command: object, path: Path | None = None, check: bool = True, **environ: str):
    """Run a script of tools/ with one thread; ``path`` is added to PYTHONPATH."""
    paths = [str(ROOT)] + ([str(path)] if path else [])
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ':'.join(paths), **environ}
    env['PYTHON'] = sys.executable
    words = [str(word) for word in command]
    words = words if words[0].endswith('.sh') else [sys.executable, *words]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    if check and done.returncode:
        raise AssertionError(f'{words} gave {done.returncode}:\n{done.stdout}\n{done.stderr}')
    return done


def train_in_two_processes(config: Path, *runs: dict) -> None:
    """One launch of two processes that train ``runs`` one after another.

    Each is a dict of ``work_dir`` and maybe ``resume`` and, below ``cfg_options``, of changes. The
    config's folder is added to PYTHONPATH.
    """
    script = config.parent / 'launched.py'
    script.write_text(LAUNCHED.format(config=str(config), runs=runs))
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    launch = ['-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={port}']
    run_tool(*launch, script, path=config.parent)


LAUNCHED = """
from mmengine.config import Config

from mtpeft.apis import build_runner
from mtpeft.utils.dist import end_distributed

for number, run in enumerate({runs!r}):
    cfg = Config.fromfile({config!r})
    cfg.merge_from_dict(run.pop('cfg_options', {{}}))
    # runs of one process that start in one second would share log and message hub
    cfg.experiment_name = f'run{{number}}'
    build_runner(cfg, launcher='pytorch', **run).train()
end_distributed()
"""


def call_tool(*command: object) -> None:
    """Run a script of tools/ in this process, which spares the imports."""
    words = [str(word) for word in command]
    with mock.patch.object(sys, 'argv', words):
        runpy.run_path(str(ROOT / words[0]), run_name='__main__')
