"""The operators that are timed alone are those a further task of the merged model adds."""

import runpy

import pytest
import torch
from helpers.engine import ROOT, call_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mtpeft.registry import MODELS
from mtpeft.utils.benchmark import inference, multiply_adds
from mtpeft.utils.benchmark.variants import merge, with_copies

TOOL = 'tools/benchmark/further_task.py'


@pytest.mark.usefixtures('structure_only')
def test_as_many_multiply_adds_as_one_more_task():
    cfg = Config.fromfile(ROOT / 'configs/mtlora/mtlora-r64_swin-t_pascal.py')
    init_default_scope(cfg.default_scope)
    counts = []
    for tasks in (1, 2):
        model = merge(MODELS.build(with_copies(cfg, tasks).model).eval())
        call = inference(model, torch.zeros(2, 3, 224, 224))
        call()  # forms what is kept
        counts.append(multiply_adds(call))
    steps = runpy.run_path(str(ROOT / TOOL))['further_task'](2, 224)
    alone = sum(multiply_adds(step) for step in steps.values())
    assert alone == pytest.approx(counts[1] - counts[0], rel=0.02)


def test_the_table(capsys):
    call_tool(TOOL, '--size', 64, '--rounds', 1, '--batch-size', 1)
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith('operators of one task') and table[-1].startswith('all')
