"""A task without a label to learn from is warned of, marked, and no part of Delta_m."""

import logging
from types import SimpleNamespace

import pytest
import torch
from helpers.engine import tiny, train, write_base
from mmengine.runner import IterBasedTrainLoop

from mtpeft.apis import build_runner
from mtpeft.datasets import ScenesMT
from mtpeft.hooks.labels_seen import LabelsSeen, count_labels
from mtpeft.hooks.summary_hook import SummaryHook
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks

SHORT = dict(train_cfg__max_epochs=1, train_dataloader__dataset__length=4)
TASKS = ['semseg', 'depth']


def scenes(**options):
    return ScenesMT(tasks=TASKS, length=5, size=(16, 16), serialize_data=False, **options)


def test_labels_are_counted_without_reading_any(monkeypatch):
    def refuse(*_):
        raise AssertionError('a label was read')

    monkeypatch.setattr(ScenesMT, 'load_label', refuse)
    assert count_labels(scenes()) == dict(semseg=5, depth=5)
    data = scenes(missing=dict(depth=1.0), labelled_ids=dict(semseg=['0', '3']))
    ids = {data.get_data_info(i)['img_id'] for i in range(5)}
    expected = len({'0', '3'} & ids)
    assert count_labels(data) == dict(semseg=expected, depth=0)
    both = torch.utils.data.ConcatDataset([scenes(), data])
    assert count_labels(both) == dict(semseg=5 + expected, depth=5)
    assert count_labels([1, 2]) is None


def test_only_valid_pixels_count():
    seen = LabelsSeen()
    seen._unseen = dict(build_tasks(TASKS))
    sample = MultiTaskDataSample()
    sample.set_gt('semseg', torch.full((1, 2, 2), 255))
    label = torch.zeros(1, 2, 2)
    sample.set_gt('depth', label)
    seen.look(dict(data_samples=[sample]))
    assert list(seen._unseen) == TASKS
    label[0, 0, 0] = 1.5
    seen.look(dict(data_samples=[sample]))
    assert list(seen._unseen) == ['semseg']


@pytest.mark.parametrize('iteration, asked', [(2, False), (3, True), (6, True)])
def test_in_a_loop_of_iterations_the_first_pass_decides(monkeypatch, iteration, asked):
    hook, loop, calls = SummaryHook(), object.__new__(IterBasedTrainLoop), []
    loop.dataloader, hook._batches = range(3), iteration
    monkeypatch.setattr(hook._labels, 'after_epoch', calls.append)
    hook.before_val_epoch(SimpleNamespace(
        _train_loop=loop, val_loop=SimpleNamespace(evaluator=None)))  # fmt: skip
    assert bool(calls) == asked


def test_a_run_warns_marks_and_leaves_delta_m_out(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr(
        logging.Logger, 'warning', lambda self, text, *args, **kwargs: warned.append(str(text))
    )
    base = write_base(tmp_path / 'base.pth')
    runner = train(
        tiny(base, **SHORT, train_dataloader__dataset__missing=dict(depth=1.0)), tmp_path / 'a'
    )
    assert any("Task 'depth': none of the 4 training pictures has a label" in w for w in warned)
    evaluator = runner.val_loop.evaluator
    assert evaluator.untrained == {'depth'}
    table = evaluator.table({'depth/rmse': 1.0, 'semseg/mIoU': 2.0})
    marked = [line for line in table.splitlines() if '(no training label)' in line]
    assert len(marked) == 1 and marked[0].startswith('depth')
    assert evaluator._deltas(dict(semseg=50.0, depth=1.0)).keys() == {'mtl/delta/semseg'}

    # a test of these weights knows it from the checkpoint
    cfg = tiny(base, **SHORT)
    tester = build_runner(
        cfg, work_dir=str(tmp_path / 'b'), checkpoint=str(tmp_path / 'a/epoch_1.pth')
    )
    figures = tester.test()
    assert tester.test_loop.evaluator.untrained == {'depth'}
    assert 'mtl/delta/semseg' in figures and 'mtl/delta/depth' not in figures
    assert 'mtl/delta_m' not in figures


def test_a_run_with_all_labels_has_nothing_to_mark(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    runner = train(tiny(base, **SHORT), tmp_path / 'a')
    assert runner.val_loop.evaluator.untrained == frozenset()
    assert '(no training label)' not in runner.val_loop.evaluator.table({'depth/rmse': 1.0})
