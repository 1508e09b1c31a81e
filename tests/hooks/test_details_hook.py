"""Scores of single pictures and classes, by a loop over pictures and scikit-learn."""

import csv
import json

import numpy as np
import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny, write_base
from sklearn.metrics import confusion_matrix, jaccard_score, precision_score, recall_score

from mtpeft.apis import build_runner
from mtpeft.evaluation import MultiTaskEvaluator
from mtpeft.evaluation.details import Details, class_rows, class_table
from mtpeft.hooks import DetailsHook
from mtpeft.tasks import build_tasks

OPTIONS = ('test_dataloader.dataset.length=5', 'test_dataloader.num_workers=0',
           'test_dataloader.persistent_workers=False')  # fmt: skip


@pytest.fixture(scope='module')
def tested(tmp_path_factory):
    """A test run with its JSON and its files."""
    folder = tmp_path_factory.mktemp('tested')
    base = write_base(folder / 'base.pth')
    torch.manual_seed(0)
    cfg = tiny(base, work_dir=str(folder / 'work'), test_dataloader__dataset__length=5)
    runner = build_runner(cfg)
    file = folder / 'weights.pth'
    torch.save(dict(state_dict=runner.model.state_dict(), meta={}), file)
    call_tool(
        'tools/test.py', CONFIG, file, '--out', folder / 'out.json',
        '--details', folder / 'details', '--worst', 2, '--work-dir', folder / 'work',
        '--cfg-options', *OPTIONS,
        f'model.backbone.backbone.pretrained={base}',
    )  # fmt: skip
    samples = predicted(runner, 5)
    return json.loads((folder / 'out.json').read_text()), folder / 'details', samples


def predicted(runner, number):
    """Every picture of the test set by itself."""
    dataset = runner.test_dataloader.dataset
    runner.model.eval()
    samples = []
    for index in range(number):
        data = dataset[index]
        with torch.no_grad():
            batch = {key: [value] for key, value in data.items()}
            samples += runner.model.test_step(batch)
    return samples


def pixels(sample, task='semseg'):
    truth, pred = sample.gt[task].flatten().numpy(), sample.pred[task].flatten().numpy()
    return truth[truth != 255], pred[truth != 255]


def test_metrics_stay_where_they_were(tested):
    found, _, _ = tested
    assert {'semseg/mIoU', 'semseg/aAcc', 'depth/rmse'} <= set(found)
    numbers = {key: value for key, value in found.items() if key != 'details'}
    assert all(isinstance(value, float) for value in numbers.values())


def test_scores_are_those_of_each_picture_alone(tested):
    found, _, samples = tested
    depth = found['details']['tasks']['depth']
    for score, sample in zip(depth['scores'], samples, strict=True):
        evaluator = MultiTaskEvaluator(tasks=['depth'])
        evaluator.process([sample])
        assert score == pytest.approx(evaluator.evaluate(1)['depth/rmse'])
    for score, sample in zip(found['details']['tasks']['semseg']['scores'], samples, strict=True):
        truth, pred = pixels(sample)
        classes = np.union1d(truth, pred)
        assert score == pytest.approx(
            100 * jaccard_score(truth, pred, labels=classes, average='macro', zero_division=0)
        )
    assert len(found['details']['pictures']) == len(set(found['details']['pictures'])) == 5


def test_classes_are_those_of_scikit_learn(tested):
    found, folder, samples = tested
    truth, pred = map(np.concatenate, zip(*map(pixels, samples), strict=True))
    semseg = found['details']['tasks']['semseg']
    names = [row['name'] for row in semseg['classes']]
    labels = range(len(names))
    matrix = confusion_matrix(truth, pred, labels=labels)
    assert semseg['confusion'] == matrix.tolist()
    for key, score in (('IoU', jaccard_score), ('accuracy', recall_score),
                       ('precision', precision_score)):  # fmt: skip
        # what is divided by 0 is either 0 or 1, as is asked for
        low, high = (score(truth, pred, labels=labels, average=None, zero_division=number)
                     for number in (0, 1))  # fmt: skip
        for row, a, b in zip(semseg['classes'], low, high, strict=True):
            assert row[key] == (pytest.approx(100 * a) if a == b else None)
    assert [row['pixels'] for row in semseg['classes']] == matrix.sum(1).tolist()
    mean = np.nanmean([row['IoU'] for row in semseg['classes'] if row['IoU'] is not None])
    assert found['semseg/mIoU'] == pytest.approx(mean)
    rows = list(csv.reader(open(folder / 'semseg_confusion.csv')))
    assert rows[0][1:] == names and [row[0] for row in rows[1:]] == names
    assert np.array_equal(np.array([row[1:] for row in rows[1:]], int), matrix)
    rows = list(csv.DictReader(open(folder / 'semseg_classes.csv')))
    assert [row['class'] for row in rows] == names
    assert [float(r['IoU']) if r['IoU'] else None for r in rows] == [
        row['IoU'] for row in semseg['classes']
    ]


def test_the_worst_and_the_best_are_named_and_drawn(tested):
    found, folder, _ = tested
    for name, task in found['details']['tasks'].items():
        scores = task['scores']
        rising = sorted(scores)
        ends = (rising[::-1], rising) if task['lower_is_better'] else (rising, rising[::-1])
        for listed, end in zip((task['worst'], task['best']), ends, strict=True):
            assert [row['score'] for row in listed] == end[:2]
            assert len({row['index'] for row in listed}) == 2
        for row in task['worst'] + task['best']:
            assert row['score'] == scores[row['index']]
            assert row['picture'] == found['details']['pictures'][row['index']]
        for kind in ('worst', 'best'):
            assert (folder / f'{name}_{kind}.png').stat().st_size > 5000
    assert (folder / 'semseg_confusion.pdf').read_bytes().startswith(b'%PDF')
    rows = list(csv.DictReader(open(folder / 'scores.csv')))
    assert [row['picture'] for row in rows] == found['details']['pictures']
    assert [float(row['depth/rmse']) for row in rows] == found['details']['tasks']['depth'][
        'scores'
    ]


def test_a_picture_without_a_label_has_no_score():
    details = Details([2.0, None, 1.0, 2.0, 3.0], None)
    assert details.ranked(3, lower_is_better=True) == ([4, 0, 3], [2, 0, 3])
    assert details.ranked(9, lower_is_better=False) == ([2, 0, 3, 4], [4, 0, 3, 2])


def test_the_table_names_what_does_not_occur():
    task = build_tasks([dict(type='semseg', num_classes=3, classes=['sky', 'sea', 'sand'])])
    confusion = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    text = class_table(task['semseg'], confusion)
    assert 'sky' in text and '75.00' in text and text.endswith('no prediction: sand')
    sea = class_rows(task['semseg'], confusion)[1]
    assert sea == dict(name='sea', IoU=0.0, accuracy=None, precision=0.0, pixels=0)


def test_a_shuffled_test_set_has_no_details(tmp_path, caplog):
    cfg = tiny(write_base(tmp_path / 'base.pth'), work_dir=str(tmp_path / 'work'),
               test_dataloader__sampler__shuffle=True)  # fmt: skip
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='DetailsHook')]
    runner = build_runner(cfg)
    assert 'depth/rmse' in runner.test()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, DetailsHook))
    assert hook.report is None
