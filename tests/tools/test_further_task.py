"""The operators that are timed alone are those a further task of the merged model adds."""

import runpy

import pytest
import torch
from helpers.engine import ROOT, call_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.benchmark import inference, multiply_adds, random_batch, training_step
from mtpeft.benchmark.variants import merge, with_copies
from mtpeft.registry import MODELS

TOOL = 'tools/benchmark/further_task.py'


@pytest.fixture
def cfg(structure_only):
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora-r64_swin-t_pascal.py')
    init_default_scope(cfg.default_scope)
    return cfg


def alone(batch, size, train):
    module = runpy.run_path(str(ROOT / TOOL))
    steps = module['further_task'](batch, size, train).values()
    return sum(multiply_adds(module['with_gradients'](s) if train else s) for s in steps)


def test_as_many_multiply_adds_as_one_more_task(cfg):
    counts = []
    for tasks in (1, 2):
        model = merge(MODELS.build(with_copies(cfg, tasks).model).eval())
        call = inference(model, torch.zeros(2, 3, 224, 224))
        call()  # forms what is kept
        counts.append(multiply_adds(call))
    assert alone(2, 224, False) == pytest.approx(counts[1] - counts[0], rel=0.02)


def test_a_step_of_the_model_has_all_of_them_and_few_more(cfg):
    counts = []
    for tasks in (1, 2):
        model = MODELS.build(with_copies(cfg, tasks).model)
        samples = random_batch(model.tasks, 1, (224, 224))['data_samples']
        step = training_step(model, torch.zeros(1, 3, 224, 224), samples, dict(type='SGD', lr=0.1))
        step.prepare()
        counts.append(multiply_adds(step))
    assert 0.9 < alone(1, 224, True) / (counts[1] - counts[0]) <= 1


@pytest.mark.parametrize('options', [(), ('--step',)], ids=str)
def test_the_table(capsys, options):
    call_tool(TOOL, '--size', 64, '--rounds', 1, '--batch-size', 1, *options)
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith('operators of one task') and table[-1].startswith('all')
