"""What all metrics share: samples in, missing labels, and pictures named in errors."""

import pytest
import torch

from mtpeft.evaluation.metrics.base import NO_LABEL
from mtpeft.registry import METRICS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks

TASKS = build_tasks(['semseg', 'sal', 'normals', 'depth', 'edge'])


def sample(task, label=None, pred=None, name='a.jpg'):
    out = MultiTaskDataSample(metainfo=dict(img_path=name))
    if label is not None:
        out.set_gt(task.name, label)
    if pred is not None:
        out.set_pred(task.name, pred)
    return out


def perfect(task, size=(6, 8)):
    """A label and a prediction that is right everywhere."""
    if task.kind == 'vectors':
        label = torch.zeros(3, *size)
        label[2] = -1
        return label, label.clone()
    label = torch.ones(1, *size, dtype=torch.float32 if task.kind == 'values' else torch.int64)
    if task.kind == 'binary':
        label[:, :, : size[1] // 2] = 0
    return label, label.clone().float() if task.kind == 'binary' else label.clone()


def build(task):
    return METRICS.build(dict(**task.metric, task=task))


def figures(task, *samples):
    metric = build(task)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


@pytest.fixture(params=TASKS.values(), ids=str, scope='module')
def task(request):
    return request.param


def pytest_make_parametrize_id(val):
    return getattr(val, 'name', None)


@pytest.mark.parametrize('as_dict', [False, True])
def test_a_perfect_prediction_has_the_best_figures(task, as_dict):
    label, pred = perfect(task)
    one = sample(task, label, pred)
    got = figures(task, one.to_dict() if as_dict else one)
    values = build(task).values
    assert set(got) == {f'{task.name}/{key}' for key in values}
    for key, value in values.items():
        # The median is the centre of its bin.
        best = 0 if value.lower_is_better else 100
        assert got[f'{task.name}/{key}'] == pytest.approx(best, abs=0.026)


def test_pictures_without_a_valid_label_count_nowhere(task):
    label, pred = perfect(task)
    ignored = torch.full_like(label, task.ignore_value)
    rest = [sample(task, None, pred), sample(task, ignored, pred)]
    full = sample(task, label, pred)
    assert figures(task, *rest) == {}
    assert figures(task, rest[0], full, rest[1]) == figures(task, full)


def test_every_picture_takes_one_place_in_the_results(task):
    label, pred = perfect(task)
    metric = build(task)
    metric.process(None, [sample(task, None, pred), sample(task, label, pred)])
    assert metric.results[0] == NO_LABEL and metric.results[1]
    # MMEngine's collect_results drops None before it trims.
    assert None not in metric.results


def test_statistics_stay_small(task):
    label, pred = perfect(task, (64, 64))
    metric = build(task)
    metric.process(None, [sample(task, label, pred)])
    entry = metric.results[0]
    assert sum(v.numel() * v.element_size() for v in entry.values()) < 16000


def test_one_pixel(task):
    label, pred = (x[:, -1:, -1:] for x in perfect(task))
    assert figures(task, sample(task, label, pred))


def test_half_precision_predictions(task):
    label, pred = perfect(task)
    half = pred.bfloat16() if pred.is_floating_point() else pred
    assert figures(task, sample(task, label, half)) == figures(task, sample(task, label, pred))


def test_another_size_is_an_error_that_names_the_picture(task):
    label, pred = perfect(task)
    with pytest.raises(ValueError, match=rf"'{task.name}', picture 'b.jpg'.*same size"):
        build(task).process(None, [sample(task, label, pred[..., :-1], 'b.jpg')])


def test_a_missing_prediction_is_an_error_that_names_the_picture(task):
    label, _ = perfect(task)
    with pytest.raises(KeyError, match="picture 'b.jpg'.*no prediction"):
        build(task).process(None, [sample(task, label, name='b.jpg')])


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_predictions_that_are_not_finite_are_refused_where_they_count(task, bad):
    label, pred = perfect(task)
    if not pred.is_floating_point():
        pytest.skip('classes are integers')
    label[:, 0, 0] = task.ignore_value
    pred[:, 0, 0] = bad
    assert figures(task, sample(task, label, pred))
    pred[0, 1, 1] = bad
    with pytest.raises(ValueError, match="picture 'a.jpg'.*NaN"):
        build(task).process(None, [sample(task, label, pred)])


@pytest.mark.parametrize(
    'name, value', [('semseg', 30), ('sal', 7), ('edge', 2), ('depth', -1.0)], ids=str
)
def test_impossible_labels_are_refused(name, value):
    label, pred = perfect(TASKS[name])
    label[0, 0, 0] = value
    with pytest.raises(ValueError, match=f"'{name}', picture 'a.jpg'"):
        figures(TASKS[name], sample(TASKS[name], label, pred))


def test_a_metric_refuses_a_task_of_another_kind():
    with pytest.raises(ValueError, match="DepthMetric.*'values'.*'semseg'.*'classes'"):
        METRICS.build(dict(type='DepthMetric', task='semseg'))


def test_unknown_options_name_the_nearest():
    with pytest.raises(TypeError, match="Did you mean 'per_class'"):
        METRICS.build(dict(type='SegmentationMetric', task='semseg', per_clas=True))


@pytest.mark.parametrize('option', [dict(max_dist=-0.1), dict(max_dist=4), dict(thresholds=0)])
def test_impossible_edge_options(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        METRICS.build(dict(type='EdgeMetric', task='edge', **option))


def test_iou_of_each_class_that_occurs():
    task = build_tasks([dict(type='semseg', num_classes=3)])['semseg']
    metric = METRICS.build(dict(type='SegmentationMetric', task=task, per_class=True))
    label = torch.tensor([[[0, 0, 2, 2]]])
    metric.process(None, [sample(task, label, torch.tensor([[[0, 2, 2, 2]]]))])
    got = metric.evaluate(1)
    assert got['semseg/IoU/0'] == 50 and got['semseg/IoU/2'] == pytest.approx(200 / 3)
    assert 'semseg/IoU/1' not in got
