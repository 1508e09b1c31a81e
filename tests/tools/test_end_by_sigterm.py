"""SIGTERM ends a run in words and with its last epoch; nothing outlives a launcher."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers.engine import CONFIG, ROOT, train_in_two_processes, write_base
from tools.test_two_processes_train_and_test import port

from mtpeft.checkpoints.files import safe_load

HOOK = """
import os
import time

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class PauseHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == int(os.environ.get('PAUSE_AT', -1)):
            with open(f'{runner.work_dir}/pid_{get_rank()}', 'w') as file:
                file.write(str(os.getpid()))
            time.sleep(100)
"""
RUN = """
_base_ = [{config!r}]
model = dict(backbone=dict(backbone=dict(pretrained={base!r})))
custom_imports = dict(imports=['pause_hook'])
default_hooks = dict(pause=dict(type='PauseHook'), checkpoint=dict(interval={interval}))
optim_wrapper = dict(accumulative_counts=2)
train_dataloader = dict(num_workers={workers}, persistent_workers=False, dataset=dict(length=12))
train_cfg = dict(max_epochs=2)
vis_backends = []
visualizer = dict(vis_backends=[])
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sigterm')
    base = write_base(folder / 'base.pth')
    (folder / 'pause_hook.py').write_text(HOOK)
    for name, interval, workers in (('one', 5, 1), ('two', 1, 0)):
        text = RUN.format(config=str(CONFIG), base=str(base), interval=interval, workers=workers)
        (folder / f'{name}.py').write_text(text)
    return folder


def start(folder, *words, pause_at=-1):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{ROOT}:{folder}',
           'PYTHON': sys.executable, 'PORT': port(), 'PAUSE_AT': str(pause_at)}  # fmt: skip
    return subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, env=env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(condition, patience=200):
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, 'it did not happen'
        time.sleep(0.1)
    return found


def pids(work_dir, count):
    """Numbers of the processes that pause in a training step."""
    files = [work_dir / f'pid_{rank}' for rank in range(count)]
    wait_for(lambda: all(file.is_file() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def lives(pid):
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def test_one_process(folder):
    """In the second epoch; the checkpoint hook would have written nothing before the end."""
    work = folder / 'work_one'
    run = start(folder, sys.executable, 'tools/train.py', folder / 'one.py', '--work-dir', work,
                pause_at=8)  # fmt: skip
    (pid,) = pids(work, 1)
    os.kill(pid, signal.SIGTERM)
    text, _ = run.communicate(timeout=100)
    assert run.returncode == 143, text
    assert text.strip().split('\n')[-1] == (
        f'Ended by SIGTERM. The last checkpoint is {work}/epoch_1.pth; go on with --resume.'
    )
    assert safe_load(work / 'epoch_1.pth')['meta']['epoch'] == 1


def test_two_processes(folder):
    work = folder / 'work_two'
    run = start(folder, 'tools/dist_train.sh', folder / 'two.py', 2, '--work-dir', work,
                pause_at=4)  # fmt: skip
    workers = pids(work, 2)
    os.kill(run.pid, signal.SIGTERM)
    text, _ = run.communicate(timeout=100)
    assert run.returncode == 143, text
    words = f'Ended by SIGTERM. The last checkpoint is {work}/epoch_1.pth; go on with --resume.'
    assert text.count(words) == 2
    assert not any(map(lives, workers))


def test_one_of_two_processes_gets_it(folder):
    """Both end, and the launcher says so."""
    work = folder / 'work_one_of_two'
    run = start(folder, 'tools/dist_train.sh', folder / 'two.py', 2, '--work-dir', work,
                pause_at=4)  # fmt: skip
    workers = pids(work, 2)
    os.kill(workers[1], signal.SIGTERM)
    text, _ = run.communicate(timeout=100)
    assert run.returncode == 143, text
    assert not any(map(lives, workers))


def test_a_launcher_that_is_killed_leaves_none(folder):
    """While its processes import, where the kernel does not watch it for them yet."""
    work = folder / 'orphans'
    run = start(folder, 'tools/dist_train.sh', folder / 'two.py', 2, '--work-dir', work)
    children = wait_for(lambda: trainers(work))
    os.kill(run.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(lives, children)) and not trainers(work))
    run.communicate(timeout=100)
    assert not list(work.glob('*.pth'))


def trainers(work):
    """Processes of tools/train.py that work in a folder."""
    found = []
    for entry in os.listdir('/proc'):
        try:
            with open(f'/proc/{entry}/cmdline') as file:
                words = file.read().split('\0')
        except OSError:
            continue
        if str(work) in words and any(w.endswith('tools/train.py') for w in words[:4]):
            found.append(int(entry))
    return [pid for pid in found if lives(pid)]


def test_two_processes_resume_exactly_within_an_accumulation(folder, monkeypatch):
    """Three iterations an epoch, updates every second one."""
    monkeypatch.setenv('PAUSE_AT', '-1')
    whole, cut = folder / 'whole_two', folder / 'cut_two'
    resumed = dict(work_dir=str(cut), resume=str(whole / 'epoch_1.pth'))
    train_in_two_processes(folder / 'two.py', dict(work_dir=str(whole)), resumed)
    saved = safe_load(whole / 'epoch_1.pth')['accumulated_gradients']
    assert len(saved) == 2
    assert any(not torch.equal(saved[0][key], saved[1][key]) for key in saved[0])
    one, other = (safe_load(f / 'epoch_2.pth')['state_dict'] for f in (whole, cut))
    assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
