"""Partly labelled data through the Runner, by nothing but an option of the data set."""

import argparse
import itertools
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, DictAction

from mtpeft.adapters.plugins import plugin_items
from mtpeft.apis import build_runner
from mtpeft.apis.suite import load_suite
from mtpeft.apis.suite.recipe import resolve
from mtpeft.cli import main
from mtpeft.datasets import NYUDMT
from mtpeft.models import MultiTaskModel

ROOT = Path(__file__).parents[2]
TASKS = {'semseg', 'depth', 'normals'}
_number = itertools.count()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('partial') / 'NYUD_MT'
    sizes = ['--train', '8', '--val', '4', '--size', '40', '48']
    assert main(['data', 'scenes', str(root), '--layout', 'nyud', *sizes]) == 0
    return root


def nyud_config(leaf, root, *cfg_options):
    """A config of NYUD on a tiny model, with options as the command line gives them."""
    cfg = Config.fromfile(ROOT / 'configs' / leaf)
    cfg.model.backbone.backbone = dict(
        type='timm.swin_tiny_patch4_window7_224', pretrained=False, embed_dim=8,
        depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2),
    )  # fmt: skip
    for plugin in plugin_items(cfg.model.backbone.get('plugins') or []).values():
        plugin.cfg.rank = 2
    cfg.model.necks = [dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4))]
    cfg.model.decoder.head.channels = 8
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=1)
        loader.dataset.data_root = str(root)
        for transform in loader.dataset.pipeline:
            if transform.type == 'MTResize':
                transform.size = (32, 32)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.vis_backends = cfg.visualizer.vis_backends = []
    cfg.log_level = 'ERROR'
    cfg.experiment_name = f'partial{next(_number)}'
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    cfg.merge_from_dict(parser.parse_args(['--cfg-options', *cfg_options]).cfg_options)
    return cfg


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train and evaluate: ``(metrics, trained weights, labels by picture, val labels)``."""

    def run(leaf, root, *cfg_options):
        seen = dict(loss={}, predict={})
        forward = MultiTaskModel.forward

        def spy(self, inputs, data_samples=None, mode='tensor'):
            for sample in data_samples or []:
                seen[mode][sample.img_id] = set(sample.gt)
            return forward(self, inputs, data_samples, mode)

        monkeypatch.setattr(MultiTaskModel, 'forward', spy)
        work_dir = tmp_path / f'run{next(_number)}'
        runner = build_runner(nyud_config(leaf, root, *cfg_options), work_dir=str(work_dir))
        runner.train()
        monkeypatch.undo()
        metrics = runner.val_loop.run()
        return metrics, runner.model.state_dict(), seen['loss'], seen['predict']

    return run


def without(root, target, folders):
    """A copy of the data whose files ``{folder: ids}`` are not there."""
    shutil.copytree(root, target)
    for folder, ids in folders.items():
        for img_id in ids:
            next((target / folder).glob(f'{img_id}.*')).unlink()
    return target


FOLDERS = dict(semseg='segmentation', depth='depth', normals='normals')


def lacking(labels):
    return {FOLDERS[t]: [i for i, found in labels.items() if t not in found] for t in TASKS}


@pytest.mark.parametrize('leaf', ['lora/lora_swin-t_nyud.py', 'mtlora/mtlora-r16_swin-t_nyud.py'])
def test_training_labels_removed_at_random_are_as_if_they_did_not_exist(
    train, data, tmp_path, leaf
):
    metrics, weights, seen, evaluated = train(leaf, data, 'train_dataloader.dataset.missing=0.333')
    lost = lacking(seen)
    assert len(seen) == 8 and all(0 < len(ids) < 8 for ids in lost.values())
    assert len({frozenset(ids) for ids in lost.values()}) == 3  # each task loses its own
    assert len(evaluated) == 4 and all(found == TASKS for found in evaluated.values())
    assert all(f'mtl/delta/{task}' in metrics for task in TASKS) and 'mtl/delta_m' in metrics
    copy = without(data, tmp_path / 'copy', lost)
    option = 'train_dataloader.dataset.allow_missing_labels=True'
    same_metrics, same_weights, same_seen, _ = train(leaf, copy, option)
    assert same_seen == seen and same_metrics == metrics
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    other = train(leaf, data, 'train_dataloader.dataset.missing=0')[1]
    assert any(not torch.equal(weights[name], other[name]) for name in weights)


@pytest.mark.parametrize('suite', ['nyud', 'pascal', 'scenes'])
def test_one_option_is_all_that_changes_in_any_run_of_a_suite(suite):
    option = 'train_dataloader.dataset.missing'
    entries = load_suite(suite, ROOT / 'configs' / 'suites').entries
    for entry in {entry.config: entry for entry in entries}.values():
        full, partial = resolve(entry.config, {}), resolve(entry.config, {option: 0.333})
        assert partial == {**full, option: 0.333}


def test_what_a_task_loses_depends_on_no_other_task():
    names = [f'{number:04d}' for number in range(3000)]

    def kept(tasks, **options):
        data = NYUDMT(tasks=tasks, data_root='.', lazy_init=True, missing=1 / 3, **options)
        return {
            task.name: {n for n in names if data.has_label(dict(img_id=n), task)}
            for task in data.tasks.values()
        }

    together = kept(['semseg', 'depth', 'normals'])
    for name, ids in together.items():
        # a single-task run of a suite has the very labels that the other methods have
        assert kept([name]) == {name: ids} != kept([name], seed=1)
        assert abs(len(ids) - 2000) < 4 * (3000 * 2 / 9) ** 0.5  # four standard deviations
    for one, other in itertools.combinations(together.values(), 2):
        assert abs(len(one & other) - 3000 * 4 / 9) < 4 * (3000 * 20 / 81) ** 0.5


def test_a_single_task_run_survives_pictures_without_any_label(train, data):
    metrics, weights, seen, _ = train(
        'single_task/depth_swin-t_nyud.py', data, 'train_dataloader.dataset.missing=0.7'
    )
    assert set() in seen.values() and {'depth'} in seen.values()  # batches of one picture
    assert metrics['depth/rmse'] > 0 and all(w.isfinite().all() for w in weights.values())


def test_evaluation_takes_the_labels_that_are_left(train, data, tmp_path):
    leaf = 'decoders_only/decoders_only_swin-t_nyud.py'
    full, weights, _, _ = train(leaf, data, 'val_dataloader.dataset.missing=0.0')
    option = 'val_dataloader.dataset.missing.depth=0.5'
    metrics, same_weights, seen, evaluated = train(leaf, data, option)
    assert all(found == TASKS for found in seen.values())
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    lost = lacking(evaluated)
    assert 0 < len(lost['depth']) < 4 and not lost['segmentation'] and not lost['normals']
    assert metrics['depth/rmse'] != full['depth/rmse']
    assert metrics['semseg/aAcc'] == full['semseg/aAcc']
    copy = without(data, tmp_path / 'copy', lost)
    option = 'val_dataloader.dataset.allow_missing_labels=True'
    assert train(leaf, copy, option)[0] == metrics


def test_a_task_without_any_label_left_gives_no_figure(train, data):
    leaf = 'decoders_only/decoders_only_swin-t_nyud.py'
    metrics = train(leaf, data, 'val_dataloader.dataset.missing.depth=1')[0]
    assert not any(key.startswith('depth/') for key in metrics)
    assert 'mtl/delta_m' not in metrics and 'normals/mean_angle' in metrics
