"""The evaluator: one process and two, Delta_m, the stock Runner's save_best."""

import logging
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mtpeft.evaluation import MultiTaskEvaluator, delta_m
from mtpeft.evaluation.metrics import DepthMetric
from mtpeft.registry import EVALUATOR, METRICS
from mtpeft.structures import MultiTaskDataSample

TASKS = dict(
    semseg=dict(num_classes=4), human_parts=dict(), sal=dict(), normals=dict(), depth=dict(),
    edge=dict(metric=dict(type='EdgeMetric', max_dist=0.05, thresholds=5)),
)  # fmt: skip
BASELINES = dict(semseg=30.0, human_parts=20.0, sal=50.0, normals=80.0, depth=2.0, edge=40.0)


class Pictures(Dataset):
    """Labels and noisy predictions drawn from the index; ``labelled`` says which have labels."""

    def __init__(self, n=7, labelled=lambda task, index: True):
        self.n, self.labelled = n, labelled

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        g = torch.Generator().manual_seed(index)
        out = MultiTaskDataSample(metainfo=dict(img_path=f'{index}.jpg'))
        size = (12, 9 + index)
        for task, classes in (('semseg', 4), ('human_parts', 7), ('sal', 2), ('edge', 2)):
            label = torch.randint(classes, (1, *size), generator=g)
            pred = torch.where(
                torch.rand(label.shape, generator=g) < 0.3,
                torch.randint(classes, label.shape, generator=g),
                label,
            )
            if classes == 2:
                pred = (0.1 + 0.5 * pred + 0.4 * torch.rand(label.shape, generator=g)).clamp(0, 1)
            label[:, 0] = 255
            self._set(out, task, index, label, pred)
        depth = 1 + 5 * torch.rand(1, *size, generator=g)
        self._set(out, 'depth', index, depth, depth + torch.randn(1, *size, generator=g))
        normals = torch.randn(3, *size, generator=g)
        self._set(out, 'normals', index, normals, normals + torch.randn(3, *size, generator=g))
        return out

    def _set(self, out, task, index, label, pred):
        out.set_pred(task, pred)
        if self.labelled(task, index):
            out.set_gt(task, label)


def _some(task, index):
    return (index + len(task)) % 3 != 1


def _evaluate(dataset, **kwargs):
    """As ValLoop does, with the sampler that the Runner builds (padded, round_up=True)."""
    evaluator = MultiTaskEvaluator(tasks=TASKS, baselines=BASELINES, **kwargs)
    sampler = DefaultSampler(dataset, shuffle=False)
    for batch in DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=list):
        evaluator.process(batch)
    return evaluator.evaluate(len(dataset))


def _worker(rank, port, n, path):
    torch.set_num_threads(1)
    os.chdir(path)
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    torch.save(_evaluate(Pictures(n, _some)), f'{rank}.pt')
    dist.destroy_process_group()


@pytest.mark.parametrize('n', [7])
def test_two_processes_give_the_same_bits_as_one(tmp_path, n):
    one = _evaluate(Pictures(n, _some))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    mp.spawn(_worker, (port, n, tmp_path), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pt') == one
    # The picture that pads the split is labelled, so counting it twice would show.
    assert _some('semseg', 0)
    twice = torch.utils.data.ConcatDataset([Pictures(n, _some), Pictures(1, _some)])
    assert _evaluate(twice)['semseg/mIoU'] != one['semseg/mIoU']


def test_delta_is_that_of_the_headlines():
    figures = _evaluate(Pictures())
    headlines = dict(
        semseg='mIoU', human_parts='mIoU', sal='mIoU', normals='mean_angle', depth='rmse',
        edge='odsF',
    )  # fmt: skip
    metrics = {task: figures[f'{task}/{name}'] for task, name in headlines.items()}
    assert figures['mtl/delta_m'] == pytest.approx(
        delta_m(metrics, BASELINES, {'normals', 'depth'})
    )
    gains = [figures[f'mtl/delta/{task}'] for task in TASKS]
    assert figures['mtl/delta_m'] == pytest.approx(sum(gains) / 6)


def test_without_baselines_there_is_no_delta():
    evaluator = MultiTaskEvaluator(tasks=['depth'])
    evaluator.process([Pictures()[0]])
    figures = {f'depth/{name}' for name in DepthMetric.values}
    assert set(evaluator.evaluate(1)) == figures and 'depth/rmse' in figures


def test_a_task_without_labels_gives_no_figures_and_no_mean_over_the_others(caplog):
    with caplog.at_level(logging.INFO):
        figures = _evaluate(Pictures(3, lambda task, index: task != 'sal'))
    assert not any(key.startswith('sal/') or key == 'mtl/delta/sal' for key in figures)
    assert 'mtl/delta/depth' in figures and 'mtl/delta_m' not in figures


def test_nothing_labelled_at_all():
    assert _evaluate(Pictures(3, lambda task, index: False)) == {}


def test_warnings_name_the_task(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mtpeft.evaluation.evaluator.print_log', lambda text, *args: said.append((text, args))
    )
    _evaluate(Pictures(3, lambda task, index: task != 'sal'))
    warnings = [text for text, args in said if logging.WARNING in args]
    assert any("'sal'" in text and 'valid label' in text for text in warnings)
    assert any('delta_m is not computed: sal' in text for text in warnings)
    table = next(text for text, args in said if logging.WARNING not in args)
    assert '(no labels)' in table and 'rmse*' in table and 'delta_m' not in table


class Count(BaseMetric):
    """A metric of somebody else: it knows nothing of tasks."""

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(n=len(results))


def test_metrics_of_other_packages_work_beside_and_for_a_task():
    counted = dict(type=Count)
    tasks = dict(depth=dict(metric=counted, headline='n'))
    cfg = dict(
        type='MultiTaskEvaluator', metrics=[Count(prefix='all')], tasks=tasks,
        baselines=dict(depth=4),
    )  # fmt: skip
    evaluator = EVALUATOR.build(cfg)
    evaluator.process([Pictures()[0], Pictures()[1]])
    figures = evaluator.evaluate(2)
    assert figures['depth/n'] == figures['all/n'] == 2
    # depth counts as "lower is better", whatever measures it.
    assert figures['mtl/delta_m'] == 50


def test_a_headline_that_the_metric_does_not_give_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'rmse'"):
        MultiTaskEvaluator(tasks=dict(depth=dict(headline='rmsee')))
    with pytest.raises(KeyError, match="Did you mean 'DepthMetric'"):
        MultiTaskEvaluator(tasks=dict(depth=dict(metric=dict(type='DephtMetric'))))


def test_two_tasks_of_one_type_have_their_own_keys():
    evaluator = MultiTaskEvaluator(tasks=dict(depth=dict(), far=dict(type='depth')))
    one = Pictures()[0]
    one.set_gt('far', one.get_gt('depth') * 2)
    one.set_pred('far', one.get_pred('depth') * 2)
    evaluator.process([one])
    figures = evaluator.evaluate(1)
    assert figures['far/rmse'] == pytest.approx(2 * figures['depth/rmse'])


class Offset(BaseModel):
    """Predicts depth with an error that shrinks over epochs, then grows."""

    errors = (0.8, 0.2, 0.6)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.validated = 0

    def forward(self, inputs, data_samples, mode='tensor'):
        if mode == 'loss':
            return dict(loss=(self.weight**2).sum())
        error = self.errors[self.validated]
        self.validated += 1
        for sample in data_samples:
            sample.set_pred('depth', sample.get_gt('depth') + error)
        return data_samples


class Depths(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        out = MultiTaskDataSample(metainfo=dict(img_path=f'{index}.jpg'))
        out.set_gt('depth', torch.full((1, 4, 4), 2.0))
        return dict(inputs=torch.zeros(3, 4, 4), data_samples=out)


def test_save_best_by_delta_m_in_the_stock_runner(tmp_path):
    loader = dict(
        batch_size=2, dataset=Depths(), sampler=dict(type='DefaultSampler', shuffle=False),
        num_workers=0, collate_fn=dict(type='pseudo_collate'),
    )  # fmt: skip
    runner = Runner(
        model=Offset(), work_dir=str(tmp_path), train_dataloader=loader, val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=3), val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_evaluator=dict(
            type='MultiTaskEvaluator', metrics=[], tasks=dict(depth=dict()),
            baselines=dict(depth=0.4),
        ),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', save_best='mtl/delta_m', rule='greater')
        ),
        default_scope='mtpeft', experiment_name='save_best', log_level='WARNING',
    )  # fmt: skip
    runner.train()
    assert isinstance(runner.val_evaluator, MultiTaskEvaluator)
    assert runner.message_hub.get_info('best_score') == pytest.approx(50)
    assert [p.name for p in tmp_path.glob('best_*')] == ['best_mtl_delta_m_epoch_2.pth']


def test_all_metrics_are_registered():
    for name in ('Segmentation', 'Saliency', 'Normals', 'Depth', 'Edge'):
        assert METRICS.get(f'mtpeft.{name}Metric') is not None
    assert EVALUATOR.get('mtpeft.MultiTaskEvaluator') is MultiTaskEvaluator
