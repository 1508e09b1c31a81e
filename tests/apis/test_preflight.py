"""A mistake anywhere the Runner looks is named with its place and the nearest names."""

import glob
from pathlib import Path

import pytest
from mmengine.config import Config

from mtpeft.apis import build_runner
from mtpeft.apis.preflight import check_config

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mtlora/mtlora_swin-pico_scenes.py'
LEAVES = [p for p in glob.glob(str(ROOT / 'configs/*/*.py')) if '/suites/' not in p]


@pytest.mark.parametrize('path', LEAVES)
def test_every_config_passes(path):
    check_config(Config.fromfile(path))


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'model.type': 'MultiTaskModle'}, KeyError, "model: .*Did you mean 'MultiTaskModel'"),
        ({'model.decodr': 1}, TypeError, "model: .*'decodr'. Did you mean 'decoder'"),
        (
            {'train_dataloader.dataset.type': 'SceneMT'},
            KeyError,
            "train_dataloader.dataset: .*Did you mean 'ScenesMT'",
        ),
        (
            {'val_evaluator.baseline': {}},
            TypeError,
            "val_evaluator: .*'baseline'. Did you mean 'baselines'",
        ),
        ({'val_evaluator.type': 'MultiTaskEval'}, KeyError, "Did you mean 'MultiTaskEvaluator'"),
        (
            {'default_hooks.visualization.num_picture': 2},
            TypeError,
            "default_hooks.visualization: .*Did you mean 'num_pictures'",
        ),
        ({'visualizer.type': 'MultiTaskVisualiser'}, KeyError, "Did you mean 'MultiTaskVisualize"),
    ],
)
def test_mistakes_are_named_before_anything_is_built(options, error, message, tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(options)
    with pytest.raises(error, match=message):
        build_runner(cfg, work_dir=str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


def test_other_scopes_are_left_alone():
    check_config(Config(dict(default_scope='mmseg', model=dict(type='NoSuchModel'))))


def test_priority_belongs_to_the_runner():
    cfg = Config.fromfile(CONFIG)
    cfg.custom_hooks.append(dict(type='SummaryHook', priority='LOW'))
    check_config(cfg)


def test_a_data_root_that_nothing_reads_names_the_options_that_count():
    cfg = Config.fromfile(ROOT / 'configs/faar/faar_swin-t_pascal.py')
    cfg.merge_from_dict({'data_root': '/data/P'})
    with pytest.raises(
        ValueError, match=r'changes nothing.*train_dataloader.dataset.data_root=/data/P'
    ):
        check_config(cfg)
    loaders = {f'{s}_dataloader.dataset.data_root': '/data/P' for s in ('train', 'val', 'test')}
    cfg.merge_from_dict(loaders)
    check_config(cfg)
