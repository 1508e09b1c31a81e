"""A run touches its own work dir and no other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny, train, write_base
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.hooks import AdapterCheckpointHook
from mtpeft.utils.lock import WorkDirBusyError


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(base, epochs=2, **options):
    return tiny(base, train_cfg__max_epochs=epochs, train_dataloader__dataset__length=2,
                val_dataloader__dataset__length=1, **options)  # fmt: skip


@pytest.fixture(autouse=True)
def _ever_better(monkeypatch):
    """Each evaluation of a process is better than the one before."""
    score = iter(range(1000))

    def evaluate(self, size):
        return {'mtl/delta_m': float(next(score)), 'semseg/mIoU': float(next(score))}

    monkeypatch.setattr(Evaluator, 'evaluate', evaluate)


@pytest.fixture(scope='module')
def first(base, tmp_path_factory):
    """A run of two epochs, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluator, 'evaluate', lambda self, size: {'mtl/delta_m': -1.0})
        return Path(train(config(base), tmp_path_factory.mktemp('first')).work_dir)


@pytest.fixture
def run(first, tmp_path):
    return Path(shutil.copytree(first, tmp_path / 'run'))


def with_whole_paths(folder: Path, said: Path) -> None:
    """``folder`` as earlier versions wrote it, while it was called ``said``."""
    (folder / 'last_checkpoint').write_text(str(said / 'epoch_2.pth'))
    for file in folder.glob('*.pth'):
        saved = torch.load(file, weights_only=False)
        info = saved['message_hub']['runtime_info']
        for key in info:
            if key.startswith(('best_ckpt', 'last_ckpt')):
                info[key] = str(said / info[key])
        saved['meta'].pop('digest', None)
        torch.save(saved, file)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run that hold its weights."""
    names = [name for name in os.listdir(folder) if name.endswith('.pth')]
    return {name: (folder / name).read_bytes() for name in [*names, 'last_checkpoint']}


def absolute_paths(value, found=()):
    """Texts in nested containers that name a file of a machine."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [path for child in value for path in absolute_paths(child)]
    return [value] if isinstance(value, str) and re.match(r'/.*\.pth$', value) else []


def test_no_file_says_where_it_lies(run):
    for file in run.glob('*.pth'):
        assert absolute_paths(safe_load(file)['message_hub']) == []
    assert (run / 'last_checkpoint').read_text() == 'epoch_2.pth'


@pytest.mark.parametrize('whole_paths', [False, True])
@pytest.mark.parametrize('several', [False, True])
def test_resumed_into_another_folder(base, run, tmp_path, whole_paths, several):
    if whole_paths:
        with_whole_paths(run, run)
    cfg = config(base, epochs=4)
    if several:
        cfg.default_hooks.checkpoint.save_best = ['mtl/delta_m', 'semseg/mIoU']
        saved = torch.load(run / 'epoch_2.pth', weights_only=False)
        info = saved['message_hub']['runtime_info']
        info['best_ckpt_mtl/delta_m'] = info.pop('best_ckpt')
        info['best_score_mtl/delta_m'] = info.pop('best_score')
        saved['meta'].pop('digest', None)
        torch.save(saved, run / 'epoch_2.pth')
    before = contents(run)
    train(cfg, tmp_path / 'other', resume=str(run / 'epoch_2.pth'))
    assert contents(run) == before
    made = {path.name for path in (tmp_path / 'other').glob('*.pth')}
    assert {'epoch_3.pth', 'epoch_4.pth'} <= made
    assert len([name for name in made if name.startswith('best')]) == 1 + several


def test_files_of_another_run_in_that_folder_stay_too(base, run, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(run, other)
    kept = {n: data for n, data in contents(other).items() if n not in ('last_checkpoint',)}
    train(config(base, epochs=4), other, resume=str(run / 'epoch_2.pth'))
    assert {name: (other / name).read_bytes() for name in kept} == kept


@pytest.mark.parametrize('whole_paths', [False, True])
def test_a_copy_goes_on_from_itself(base, run, tmp_path, whole_paths):
    copy = tmp_path / 'copy'
    shutil.copytree(run, copy)
    if whole_paths:
        with_whole_paths(copy, run)
    saved = torch.load(copy / 'epoch_2.pth', weights_only=False)
    key = next(k for k, v in saved['state_dict'].items() if v.numel() > 1)
    saved['state_dict'][key].zero_()
    saved['meta'].pop('digest', None)
    torch.save(saved, copy / 'epoch_2.pth')
    before = contents(run)
    runner = build_runner(config(base, epochs=3), work_dir=str(copy), resume='auto')
    assert Path(runner._load_from) == copy / 'epoch_2.pth'
    runner.train()
    assert contents(run) == before
    # of the copy, the best one gave way to a better one
    assert len(list(copy.glob('best_*.pth'))) == 1
    assert (copy / 'best_mtl_delta_m_epoch_3.pth').exists()


def test_a_renamed_one_finds_its_files(base, run, tmp_path):
    with_whole_paths(run, run)
    moved = run.rename(tmp_path / 'moved')
    runner = train(config(base, epochs=3), moved, resume='auto')
    assert runner.epoch == 3 and not run.exists()
    assert sorted(p.name for p in moved.glob('*.pth')) == [
        'best_mtl_delta_m_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth'
    ]  # fmt: skip


def test_the_plain_runner_finds_the_last_one_too(base, run):
    cfg = config(base, epochs=3)
    cfg.update(work_dir=str(run), resume=True, load_from=None, launcher='none')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.epoch == 3 and safe_load(run / 'epoch_3.pth')['meta']['epoch'] == 3


def test_a_config_that_resumes(base, run):
    runner = build_runner(config(base, resume=True), work_dir=str(run))
    assert runner._load_from == str(run / 'epoch_2.pth') and runner._resume


def test_checkpoints_in_a_folder_of_their_own(base, tmp_path):
    options = dict(default_hooks__checkpoint__out_dir=str(tmp_path / 'big'))
    train(config(base, epochs=1, **options), tmp_path / 'run')
    runner = train(config(base, **options), tmp_path / 'run', resume='auto')
    assert runner.epoch == 2 and (tmp_path / 'big' / 'run' / 'epoch_2.pth').exists()
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('epoch_file', [True, False])
def test_a_best_checkpoint_is_no_state_to_go_on_from(base, run, tmp_path, epoch_file):
    best = next(run.glob('best_*.pth'))
    if not epoch_file:
        (run / best.name.replace('best_mtl_delta_m_', '')).unlink()
    take = run / ('epoch_1.pth' if epoch_file else 'epoch_2.pth')
    runner = build_runner(config(base), work_dir=str(tmp_path / 'new'), resume=str(best))
    with pytest.raises(CheckpointError, match=f'{best}.*no state of the optimizer.*from {take}'):
        runner.train()
    train(config(base), tmp_path / 'new', checkpoint=str(best))  # its weights may be the start


def test_checkpoints_without_a_last_one_are_not_written_over(base, run, tmp_path):
    (run / 'last_checkpoint').unlink()
    before = {path.name: path.read_bytes() for path in run.glob('*.pth')}
    with pytest.raises(CheckpointError, match=rf'--resume {run}/epoch_2.pth.*another --work-dir'):
        build_runner(config(base), work_dir=str(run), resume='auto')
    assert {path.name: path.read_bytes() for path in run.glob('*.pth')} == before
    named = build_runner(config(base), work_dir=str(run), resume=str(run / 'epoch_2.pth'))
    assert named._resume


def test_a_last_one_that_is_gone_is_named(base, run):
    (run / 'epoch_2.pth').unlink()
    with pytest.raises(CheckpointError, match=r'epoch_2.pth, which is not in .*epoch_1.pth'):
        build_runner(config(base), work_dir=str(run), resume='auto')


def test_killed_between_the_first_file_and_its_name(base, run):
    """As a run leaves it; the first epoch is made again."""
    (run / 'last_checkpoint').write_text('')
    assert train(config(base, epochs=1), run, resume='auto').epoch == 1


def test_left_over_parts_of_files_go(base, tmp_path):
    names = ['.epoch_1.pth.abcd1234.tmp', '.last_checkpoint.abcd1234.tmp']
    kept = ['.mine.tmp', 'notes.tmp', '.other.safetensors.abcd1234.tmp']
    for name in (*names, *kept):
        (tmp_path / name).write_text('part')
    train(config(base, epochs=1), tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert not found & set(names) and set(kept) <= found


@pytest.fixture
def other(run):
    """Another process that works in the folder."""
    code = 'import sys, time; from mtpeft.utils.lock import hold; hold(sys.argv[1]);' \
           'print(flush=True); time.sleep(60)'  # fmt: skip
    other = subprocess.Popen([sys.executable, '-c', code, str(run)], stdout=subprocess.PIPE)
    other.stdout.readline()
    yield other
    other.kill()
    other.wait()


def test_a_second_run_in_one_folder_is_refused(base, run, other):
    before = contents(run)
    with pytest.raises(WorkDirBusyError, match=f'process {other.pid}'):
        train(config(base), run)
    build_runner(config(base), work_dir=str(run), checkpoint=str(run / 'epoch_2.pth')).test()
    other.kill()
    other.wait()
    assert contents(run) == before
    train(config(base, epochs=3), run, resume='auto')


def test_the_tool_refuses_before_it_writes_anything(run, other):
    before = {path: path.stat().st_mtime_ns for path in run.rglob('*')}
    with pytest.raises(SystemExit, match=f'process {other.pid}.*another --work-dir'):
        call_tool('tools/train.py', CONFIG, '--work-dir', run, '--resume')
    assert {path: path.stat().st_mtime_ns for path in run.rglob('*')} == before


def test_killed_before_an_older_file_was_removed(base, tmp_path, monkeypatch):
    """It is removed when the run goes on."""
    options = dict(default_hooks__checkpoint__max_keep_ckpts=1)
    with monkeypatch.context() as patch:
        patch.setattr(AdapterCheckpointHook, '_remove', lambda self, path: None)
        train(config(base, epochs=2, **options), tmp_path)
    assert (tmp_path / 'epoch_1.pth').exists()
    train(config(base, epochs=3, **options), tmp_path, resume='auto')
    assert [path.name for path in tmp_path.glob('epoch*')] == ['epoch_3.pth']
