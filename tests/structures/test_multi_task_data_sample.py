"""A sample holds any number of tasks, under mmsegmentation's names where it has one."""

import torch
from mmseg.evaluation.metrics import IoUMetric
from mmseg.structures import SegDataSample

from mtpeft.structures import MultiTaskDataSample


def sample(tasks=('semseg', 'depth', 'normals')):
    out = MultiTaskDataSample(metainfo=dict(img_shape=(4, 5)))
    for index, task in enumerate(tasks):
        out.set_gt(task, torch.full((1, 4, 5), index))
        out.set_pred(task, torch.full((1, 4, 5), index + 1))
    return out


def test_what_is_set_comes_back_by_task():
    one = sample()
    assert set(one.gt) == set(one.pred) == {'semseg', 'depth', 'normals'}
    assert list(one.gt) == list(one.pred)  # the same order in every process
    assert one.get_gt('depth').unique().tolist() == [1]
    assert one.get_pred('depth').unique().tolist() == [2]
    assert one.get_gt('sal') is None and 'gt_sal' not in one


def test_semseg_has_the_names_of_mmseg():
    one = sample()
    assert torch.equal(one.gt_sem_seg.data, one.get_gt('semseg'))
    theirs = SegDataSample()
    theirs.pred_sem_seg = one.pred_sem_seg
    assert torch.equal(theirs.pred_sem_seg.data, one.get_pred('semseg'))


def test_metric_of_mmseg_reads_the_sample():
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=('a', 'b'))
    one = sample(('semseg',))
    one.set_pred('semseg', one.get_gt('semseg').clone())
    metric.process({}, [one.to_dict()])
    assert metric.evaluate(1)['aAcc'] == 100


def test_copies_and_moves_to_a_dtype():
    one = sample().to(torch.float64)
    assert all(x.dtype == torch.float64 for x in one.gt.values())
    # mmengine keeps its keys in a set: no order
    assert set(sample().clone().keys()) == set(sample().keys())
