"""Folder, tasks and size reach every place that has them; what nothing reads is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.engine import ROOT, call_tool
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mtpeft.apis import build_runner
from mtpeft.apis.preflight import check_config
from mtpeft.apis.read_config import load_config
from mtpeft.apis.suite import load_suite
from mtpeft.registry import MODELS
from mtpeft.utils.fits import ConfigError

PASCAL = ROOT / 'configs/mtlora/mtlora-r64_swin-t_pascal.py'
NYUD = ROOT / 'configs/faar/faar_swin-t_nyud.py'
SCENES = ROOT / 'configs/mtlora/mtlora_swin-pico_scenes.py'
SPLITS = ('train', 'val', 'test')


@pytest.mark.parametrize('path', [PASCAL, NYUD])
def test_a_folder_reaches_all_loaders(path):
    cfg = load_config(path, data_root='/some/where')
    assert [cfg[f'{s}_dataloader'].dataset.data_root for s in SPLITS] == ['/some/where'] * 3
    check_config(cfg)


def test_a_folder_reaches_wrapped_data_sets():
    loader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[dict(data_root='a'), dict(data_root='b')])))  # fmt: skip
    from mtpeft.apis.data_options import set_data

    cfg = set_data(Config(dict(train_dataloader=loader)), 'c')
    inner = cfg.train_dataloader.dataset.dataset.datasets
    assert [d.data_root for d in inner] == ['c', 'c']


def test_all_three_loaders_by_their_own_options():
    options = {f'{s}_dataloader.dataset.data_root': '/data/P' for s in SPLITS}
    check_config(load_config(PASCAL, options))


def test_rendered_scenes_have_no_folder():
    with pytest.raises(ConfigError, match=r'--data-root: train_dataloader.*ScenesMT.*no data_root'):
        load_config(SCENES, data_root='/data')


def test_tasks_reach_model_data_evaluators_and_baselines():
    cfg = load_config(PASCAL, tasks=['normals', 'semseg'])
    places = [cfg.model, cfg.val_evaluator, cfg.test_evaluator]
    places += [cfg[f'{s}_dataloader'].dataset for s in SPLITS]
    for place in places:
        assert list(place.tasks) == ['normals', 'semseg']
        assert place.tasks.semseg.num_classes == 21
    assert cfg.val_evaluator.baselines == dict(semseg=67.21, normals=17.97)
    check_config(cfg)
    cfg.model.backbone.backbone.pretrained = False
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mtpeft'):
        assert list(MODELS.build(cfg.model).tasks) == ['normals', 'semseg']


def test_a_task_without_baseline_ends_delta_m():
    cfg = load_config(NYUD, tasks=['depth', 'edge'])
    assert cfg.val_evaluator.baselines is None
    assert cfg.default_hooks.checkpoint.save_best is None
    assert list(cfg.test_dataloader.dataset.tasks) == ['depth', 'edge']
    check_config(cfg)


def test_tables_and_lists_by_task_lose_the_others():
    options = {
        'model.loss_weighting': dict(type='FixedWeighting', weights=dict(semseg=1.0, sal=2.0)),
        'default_hooks.checkpoint.save_best': ['sal/maxF', 'semseg/mIoU'],
        'default_hooks.checkpoint.rule': ['greater', 'greater'],
    }
    cfg = load_config(PASCAL)
    cfg.merge_from_dict(options)
    from mtpeft.apis.data_options import set_data

    set_data(cfg, tasks=['semseg', 'normals'])
    assert cfg.model.loss_weighting.weights == dict(semseg=1.0)
    assert cfg.default_hooks.checkpoint.save_best == ['semseg/mIoU']
    assert cfg.default_hooks.checkpoint.rule == ['greater']


def test_an_unknown_task_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="--tasks: .*'dpeth'. Did you mean 'depth'"):
        load_config(NYUD, tasks=['semseg', 'dpeth'])
    with pytest.raises(ConfigError, match='--tasks: expected different names'):
        load_config(NYUD, tasks=['depth', 'depth'])


def test_a_size_reaches_transforms_data_sets_and_filters():
    cfg = load_config(NYUD, size=(64, 96))
    for split in SPLITS:
        steps = cfg[f'{split}_dataloader'].dataset.pipeline
        assert [s['size'] for s in steps if s['type'] == 'MTResize'] == [(64, 96)]
    assert cfg.model.img_size == (64, 96)
    assert load_config(SCENES, size=(64, 96)).val_dataloader.dataset.size == (64, 96)


def test_what_is_set_is_what_a_run_is_built_of(tmp_path):
    cfg = load_config(SCENES, tasks=['depth', 'edge'], size=(32, 64))
    cfg.merge_from_dict({f'{s}_dataloader.dataset.length': 2 for s in SPLITS})
    runner = build_runner(cfg, work_dir=str(tmp_path))
    assert list(runner.model.tasks) == ['depth', 'edge']
    data = runner.build_dataloader(cfg.val_dataloader).dataset
    assert data[0]['inputs'].shape == (3, 32, 64)


# -- what nothing reads ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'data_root': '/data'}, 'data_root.*changes nothing.*--data-root DIR'),
        ({'size': (64, 64)}, 'size.*changes nothing.*--size H W'),
        ({'tasks.sal': None}, 'tasks.*--tasks NAME'),
    ],
)
def test_a_variable_names_its_flag(option, message):
    with pytest.raises(ConfigError, match=message):
        load_config(PASCAL, option)
    cfg = Config.fromfile(PASCAL)
    cfg.merge_from_dict(option)
    with pytest.raises(ConfigError, match=message):
        check_config(cfg)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ({'model.tasks.sal': None}, r'model\.tasks\.sal=None.*--tasks'),
        ({'train_pipeline.0.prob': 0.1}, r'changes nothing.*train_dataloader\.dataset\.pipeline'),
        ({'baselines.sal': 3.0}, r'changes nothing.*val_evaluator\.baselines'),
        ({'optim_wraper.type': 'X'}, "optim_wraper.type: .*Did you mean 'optim_wrapper'"),
        ({'my_own': 1}, 'my_own: nothing reads this'),
        ({'custom_hooks.9.type': 'X'}, '--cfg-options custom_hooks.9.type'),
    ],
)
def test_an_option_that_nothing_reads_is_an_error(option, message):
    with pytest.raises(ConfigError, match=message):
        load_config(PASCAL, option)


def test_a_variable_that_the_runs_own_file_sets_for_nobody(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f"_base_ = ['{PASCAL}']\ndata_root = '/data/P'\n")
    with pytest.raises(ConfigError, match='data_root.*changes nothing.*--data-root'):
        check_config(Config.fromfile(leaf))
    loaders = ' = '.join(f'{s}_dataloader' for s in SPLITS)
    leaf.write_text(f"_base_ = ['{PASCAL}']\ndata_root = '/data/P'\n"
                    f'{loaders} = dict(dataset=dict(data_root=data_root))\n')  # fmt: skip
    check_config(Config.fromfile(leaf))


def test_a_dumped_config_may_keep_variables_that_its_parts_do_not_follow(tmp_path):
    cfg = Config.fromfile(PASCAL)
    places = [cfg[f'{s}_dataloader'].dataset for s in SPLITS]
    for place in places:
        place.data_root = '/data/Q'
    assert cfg.data_root != '/data/Q'
    cfg.dump(tmp_path / 'dumped.py')
    check_config(Config.fromfile(tmp_path / 'dumped.py'))


def test_a_misspelt_name_beside_the_right_one(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f"_base_ = ['{PASCAL}']\ntrain_cgf = dict(max_epochs=3)\n")
    with pytest.raises(ConfigError, match="train_cgf: nothing reads this. .*'train_cfg'"):
        check_config(Config.fromfile(leaf))


def test_code_of_ones_own_may_read_more(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f"_base_ = ['{PASCAL}']\ncustom_imports = dict(imports=['json'])\n")
    assert load_config(leaf, {'my_own': 1}).my_own == 1


@pytest.mark.parametrize('name', ['mtlora_swin-pico_scene.py', 'mtlora_swinpico_scenes.py'])
def test_a_misspelt_file_gets_the_nearest_names(name):
    with pytest.raises(FileNotFoundError, match='Did you mean .*mtlora/mtlora_swin-pico_scenes.py'):
        load_config(SCENES.parent / name)


# -- tools -----------------------------------------------------------------------------------------


def test_analysis_tools_take_them(capsys):
    call_tool('tools/analysis_tools/get_params.py', PASCAL, '--json')
    four = json.loads(capsys.readouterr().out)['components']
    call_tool('tools/analysis_tools/get_params.py', PASCAL, '--json', '--tasks', 'sal')
    one = json.loads(capsys.readouterr().out)['components']
    assert four['lora_task'] == 4 * one['lora_task']


def test_tools_take_a_folder_and_end_with_the_name_that_was_meant(tmp_path):
    with pytest.raises(SystemExit, match='Did you mean .*mtlora_swin-pico_scenes.py'):
        call_tool('tools/train.py', str(SCENES)[:-4] + '.py')
    with pytest.raises(SystemExit, match='--tasks'):
        call_tool('tools/train.py', SCENES, '--cfg-options', 'tasks.sal=None')


def test_a_suite_on_other_data():
    from mtpeft.apis.data_options import RunData
    from mtpeft.apis.suite import SuiteRunner, collect

    about = RunData('/data/N', ('depth', 'normals'), (32, 64))
    whole = load_suite('nyud', ROOT / 'configs/suites')
    entries = tuple(e for e in whole.entries if e.role == 'single_task' or e.label == 'lora')
    suite = dataclasses.replace(whole, entries=entries).with_data(about)
    single = [e.label for e in suite.entries if e.role == 'single_task']
    assert len(single) == 2 and not any('semseg' in label for label in single)
    runs = {run.entry.label: run for run in collect(suite, 'no/such/folder')}
    for label, run in runs.items():
        command = ' '.join(SuiteRunner(suite, 'w', 'train.py').command(run))
        assert '--data-root /data/N' in command and '--size 32 64' in command
        assert run.resolved['val_dataloader.dataset.data_root'] == '/data/N'
        assert ('--tasks depth normals' in command) == (label not in single)


def test_a_folder_of_ones_own_is_trained_from_the_command_line(tmp_path):
    data, work = tmp_path / 'data', tmp_path / 'work'
    call_tool('tools/dataset_converters/scenes_export.py', data, '--layout', 'nyud', '--train',
              4, '--val', 2, '--size', 64, 64)  # fmt: skip
    config = ROOT / 'configs/mtlora/mtlora_efficientnet-lite2_nyud.py'
    options = ['--data-root', data, '--tasks', 'depth', 'normals', '--size', 32, 64]
    more = ['model.backbone.backbone.pretrained=False', 'train_dataloader.batch_size=2',
            'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
            'visualizer.vis_backends=[]']  # fmt: skip
    call_tool('tools/train.py', config, '--work-dir', work, *options, '--cfg-options', *more)
    out = tmp_path / 'm.json'
    call_tool('tools/test.py', config, work / 'epoch_1.pth', '--work-dir', work, '--out', out,
              *options, '--cfg-options', *more)  # fmt: skip
    # the details are no figures
    found = {key.split('/')[0] for key in json.loads(Path(out).read_text()) if key != 'details'}
    assert found - {'mtl', 'data_time', 'time'} == {'depth', 'normals'}
    assert np.isfinite(json.loads(Path(out).read_text())['mtl/delta_m'])
