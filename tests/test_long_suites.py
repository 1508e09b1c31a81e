"""The suites of long runs: one recipe for all rows, the learning rates tried on its first part."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.apis.suite import load_suite
from mtpeft.apis.suite.suite import run_options
from mtpeft.evaluation import MultiTaskEvaluator
from mtpeft.registry import HOOKS, MODELS

ROOT = Path(__file__).parents[1]
NAMES = ('nyud_long', 'scenes_long', 'nyud_lr')


def suite_of(name):
    return load_suite(name, ROOT / 'configs/suites')


def config_of(suite, entry):
    cfg = Config.fromfile(Path(entry.config).resolve())
    cfg.merge_from_dict(run_options(suite, entry))
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('name', NAMES)
def test_all_rows_have_one_recipe(name):
    suite = suite_of(name)
    parts = 'train_dataloader', 'val_dataloader', 'param_scheduler', 'train_cfg'
    recipes = {}
    for entry in suite.entries:
        cfg = config_of(suite, entry)
        recipe = {part: cfg[part].to_dict() for part in parts if part != 'param_scheduler'}
        recipe['schedule'] = [dict(part) for part in cfg.param_scheduler]
        for loader in ('train_dataloader', 'val_dataloader'):
            recipe[loader]['dataset'].pop('tasks')
        recipes[entry.label] = recipe
        optimizer = cfg.optim_wrapper.optimizer
        assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.05)
    first = next(iter(recipes.values()))
    for label, recipe in recipes.items():
        assert recipe == first, label
    warm, cosine = first['schedule']
    assert (warm['begin'], warm['end']) == (0, cosine['begin'])
    assert cosine['end'] == cosine['begin'] + cosine['T_max']
    epochs = first['train_cfg']['max_epochs']
    assert epochs % first['train_cfg']['val_interval'] == 0
    assert epochs == (cosine['end'] // 3 if name == 'nyud_lr' else cosine['end'])


@pytest.mark.parametrize('name', ['scenes_long', 'nyud_lr'])
def test_ranks_shrink_after_every_epoch(name):
    suite, shrinking = suite_of(name), set()
    for entry in suite.entries:
        hooks = config_of(suite, entry).default_hooks
        if 'pdrs' not in hooks:
            continue
        hook = HOOKS.build(hooks.pdrs)
        shrinking.add(entry.label)
        assert (hook.by_epoch, hook.shrink_every, hook.start_epoch) == (True, 1, 0)
        # to the end, whatever a short recipe says of its own times
        assert getattr(hook, 'shrink_until', None) is None
        assert getattr(hook, 'shrinks', None) is None
    if name != 'nyud_lr':
        assert {'faar', 'faar-plus', 'union'} <= shrinking


def test_ranks_shrink_within_the_first_third_of_the_long_runs_on_nyud():
    suite = suite_of('nyud_long')
    shrinking = {
        entry.label: cfg.default_hooks.pdrs
        for entry in suite.entries
        if 'pdrs' in (cfg := config_of(suite, entry)).default_hooks
        and cfg.default_hooks.pdrs.type == 'PDRSHook'
    }
    assert {'faar', 'union', 'faar-pdrs-dora'} <= set(shrinking)
    for hook in shrinking.values():
        # (a hook with `shrinks` places them there, tests/hooks/ranks/test_pdrs.py)
        assert HOOKS.build(hook).shrinks == 15


def test_the_learning_rates_are_tried_on_the_configs_of_the_long_runs():
    long, short = suite_of('nyud_long'), suite_of('nyud_lr')
    lr = 'optim_wrapper.optimizer.lr'
    methods = {entry.label: entry for entry in long.entries}
    for entry in short.entries:
        assert entry.config == methods[entry.label.partition('@')[0]].config
        assert entry.cfg_options[lr] == float(entry.label.partition('@')[2])
    assert {entry.cfg_options[lr] for entry in short.entries} == {5e-4, 1e-3, 2e-3}


@pytest.mark.usefixtures('structure_only')
@pytest.mark.parametrize('name', ['nyud_long', 'scenes_long'])
def test_models_with_options_of_the_suite_build(name):
    suite = suite_of(name)
    for entry in suite.entries:
        if any(key.startswith('model.') for key in entry.cfg_options):
            assert MODELS.build(config_of(suite, entry).model).tasks


def test_edges_of_larger_scenes_are_matched_within_as_many_pixels():
    suite = suite_of('scenes_long')
    for entry in suite.entries:
        cfg = config_of(suite, entry)
        evaluator = MultiTaskEvaluator(
            **{k: v for k, v in cfg.val_evaluator.items() if k != 'type'}
        )
        assert ('edge' in evaluator.tasks) == (entry.role == 'method' or 'edge' in entry.label)
        if 'edge' in evaluator.tasks:
            height, width = cfg.val_dataloader.dataset['size']
            diagonal = (height**2 + width**2) ** 0.5
            assert 2 <= cfg.val_evaluator.tasks.edge.metric.max_dist * diagonal < 2**0.5 * 2


def test_decisive_rows_come_first():
    for name, three in (('nyud_long', 8), ('scenes_long', 3)):
        suite = suite_of(name)
        seeds = [entry for entry in suite.entries if suite.seeds_of(entry) == (0, 1, 2)]
        assert len(seeds) == three and {entry.stage for entry in seeds} <= {0, 1}
        first = {entry.label for entry in suite.entries if entry.stage == 0}
        assert {'mtlora', 'faar', 'sinewich', 'single_task_semseg'} <= first
