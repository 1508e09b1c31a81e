"""Training on from a model with other tasks or classes: what stays is kept bit for bit."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.adapter_grid import stir
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from mtpeft.apis import build_runner
from mtpeft.apis.preflight import check_config
from mtpeft.checkpoints.files import Checkpoint, CheckpointError
from mtpeft.hooks import CheckpointGuardHook
from mtpeft.registry import MODELS

ROOT = Path(__file__).parents[2]
OLD = dict(semseg=dict(num_classes=5), depth=dict(), normals=dict())
MORE = dict(sal=dict(), **OLD)
FEWER = dict(normals=dict(), semseg=dict(num_classes=5))
CLASSES = {**OLD, 'semseg': dict(num_classes=7)}
METHODS = ('mtlora', 'faar', 'hyperformer', 'sinewich', 'tadformer', 'ditask')


def build(method, tasks, seed=0, **options):
    torch.manual_seed(seed)
    cfg = Config.fromfile(ROOT / f'configs/{method}/{method}_swin-pico_scenes.py').model
    cfg.backbone.backbone.update(pretrained=False)
    cfg.backbone.update(options)
    cfg.tasks = tasks
    model = MODELS.build(cfg)
    stir(model, 0.1)
    return model


def guarded(model, saved, tasks=tuple(OLD), train=True, **options):
    """What the guard makes of a checkpoint, and the log."""
    lines = []
    logger = logging.Logger('test')
    logger.addHandler(handler := logging.Handler())
    handler.emit = lambda record: lines.append(record.getMessage())
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop) if train else dict()
    runner = SimpleNamespace(model=model, _resume=False, _train_loop=loop, logger=logger)
    checkpoint = Checkpoint(state_dict=dict(saved), meta=dict(tasks=list(tasks)))
    checkpoint.source = 'old.pth'
    CheckpointGuardHook(**options).after_load_checkpoint(runner, checkpoint)
    return checkpoint['state_dict'], '\n'.join(lines)


@pytest.mark.parametrize('tasks', [MORE, FEWER, CLASSES], ids=['more', 'fewer', 'classes'])
@pytest.mark.parametrize('method', METHODS)
def test_what_stays_is_kept_bit_for_bit(method, tasks):
    saved = {k: v.clone() for k, v in build(method, OLD).state_dict().items()}
    model = build(method, tasks, seed=1)
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    completed, log = guarded(model, saved)
    come, go = set(tasks) - set(OLD), set(OLD) - set(tasks)
    after = model.state_dict()
    assert completed.keys() == after.keys()
    assert all(torch.equal(completed[key], after[key]) for key in after)
    anew = set()
    for key, value in after.items():
        same = key in saved and saved[key].shape == value.shape
        assert torch.equal(value, saved[key] if same else fresh[key]), key
        if not same:
            anew.add(key)
            of_head = key.startswith('decoder.') and '.semseg.' in key
            assert come & set(key.split('.')) or of_head, key
    assert all(go & set(key.split('.')) for key in saved if key not in after)
    assert 'old.pth was loaded in part' in log
    assert ('starts anew' in log) == bool(anew) and ('is left out' in log) == bool(go)
    if tasks is CLASSES:
        assert len(anew) == 2 and all(key in log for key in anew)  # weight and bias of one layer


def test_a_model_of_the_same_tasks_is_loaded_without_a_word():
    saved = build('mtlora', OLD).state_dict()
    _, log = guarded(build('mtlora', dict(reversed(OLD.items())), seed=1), saved)
    assert not log


@pytest.mark.parametrize('tasks', [MORE, CLASSES], ids=['more', 'classes'])
def test_a_test_takes_no_model_of_other_tasks(tasks):
    saved = build('mtlora', OLD).state_dict()
    for partial in (False, True):
        with pytest.raises(CheckpointError, match='another architecture'):
            guarded(build('mtlora', tasks), saved, train=False, partial=partial)


def test_some_tasks_of_a_model_are_tested_alone():
    whole = build('mtlora', OLD).eval()
    some = build('mtlora', FEWER, seed=1).eval()
    completed, _ = guarded(some, whole.state_dict(), train=False)
    assert completed.keys() == some.state_dict().keys()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = some(x), whole(x, tasks=list(FEWER))
    assert set(found) == set(FEWER)
    torch.testing.assert_close(found, {name: expected[name] for name in found})


@pytest.mark.parametrize('method', ['faar', 'tadformer'])
def test_tasks_that_read_one_another_are_not_tested_alone(method):
    saved = build(method, OLD).state_dict()
    for tasks in (FEWER, dict(depth=dict())):
        with pytest.raises(CheckpointError, match='read one another|another architecture'):
            guarded(build(method, tasks), saved, train=False)


PLUGIN = dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'])


def test_another_architecture_needs_a_word():
    saved = build('mtlora', OLD).state_dict()
    other = build('mtlora', OLD, seed=1, plugins=[PLUGIN])
    with pytest.raises(
        CheckpointError, match=r"load_from=dict\(checkpoint='old.pth', partial=True"
    ):
        guarded(other, saved)
    _, log = guarded(other, saved, partial=True)
    assert 'layers.*.blocks.*.mlp.fc1.adapter.A (8)' in log  # of another rank
    head = 'decoder.heads.depth.conv1.weight'
    assert torch.equal(other.state_dict()[head], saved[head])


def test_factors_of_one_adapter_start_anew_together():
    saved = build('mtlora', OLD).state_dict()
    key = 'backbone.network.layers.0.blocks.1.mlp.fc1.adapter.task_A.depth'
    saved = {**saved, key: torch.zeros(3, 5)}
    model = build('mtlora', OLD, seed=1)
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    guarded(model, saved, partial=True)
    for name in (key, key.replace('task_A', 'task_B')):
        assert torch.equal(model.state_dict()[name], fresh[name])
    other = key.replace('task_A.depth', 'task_B.normals')
    assert torch.equal(model.state_dict()[other], saved[other])


def test_files_that_are_of_no_use_are_refused():
    model = build('mtlora', OLD)
    with pytest.raises(CheckpointError, match='no entry of it fits'):
        guarded(model, dict(a=torch.ones(1), b=torch.ones(2)), partial=True)
    key = 'decoder.heads.depth.conv1.weight'
    saved = model.state_dict()
    with pytest.raises(CheckpointError, match=f'{key}: expected torch.float32, got torch.comp'):
        guarded(model, {**saved, key: saved[key].to(torch.complex64)})


def test_the_config_says_it_where_it_says_load_from(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora_swin-pico_scenes.py')
    cfg.work_dir, file = str(tmp_path), str(tmp_path / 'old.pth')
    torch.save(dict(a=torch.ones(1)), file)
    cfg.load_from = dict(checkpoint=file, partial=True)
    runner = build_runner(cfg)
    assert runner._load_from == file
    guards = [hook for hook in runner.hooks if isinstance(hook, CheckpointGuardHook)]
    assert [hook.partial for hook in guards] == [True]
    cfg.load_from = dict(checkpoint=file, partail=True)
    with pytest.raises(TypeError, match='load_from.*partail'):
        check_config(cfg)
    cfg.load_from = dict(checkpoint=str(tmp_path / 'no.pth'), partial=True)
    with pytest.raises(ValueError, match='there is no file'):
        check_config(cfg)
