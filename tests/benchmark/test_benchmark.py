"""What measures time, memory and operations, against plain counts."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from helpers.engine import ROOT, tiny
from helpers.formed import Doubled
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.benchmark import (
    CLOCKS,
    PROMPT_FREE,
    Call,
    inference,
    multiply_adds,
    random_batch,
    ratio,
    spread,
    time_in_turns,
    training_step,
    variants,
)
from mtpeft.registry import MODELS
from mtpeft.tasks import build_tasks


def test_rounds_take_turns_and_start_later_each_time():
    order = []
    functions = {name: lambda name=name: order.append(name) for name in 'abc'}
    times = time_in_turns(functions, rounds=3, warmup=1)
    assert ''.join(order) == 'abc' + 'bca' + 'cab' + 'abc'
    assert all(len(seconds) == 3 for seconds in times.values())


def test_what_a_call_prepares_is_not_timed(monkeypatch):
    now = [0.0]
    monkeypatch.setitem(CLOCKS, 'wall', lambda: now[0])

    def take(seconds):
        now[0] += seconds

    call = Call(lambda: take(1), prepare=lambda: take(10))
    assert time_in_turns({'x': call, 'y': lambda: take(2)}, rounds=2) == dict(x=[1, 1], y=[2, 2])
    assert now[0] == 3 * (10 + 1 + 2)


def test_ratios_are_formed_round_by_round():
    # the machine is three times as slow in the second round
    assert ratio([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == dict(median=2.0, low=2.0, high=2.0)
    assert spread([7.0]) == dict(median=7.0, low=7.0, high=7.0)


def test_multiply_adds_of_a_network_and_its_backward_pass():
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    x = torch.randn(11, 5)
    forward = 11 * (5 * 7 + 7 * 3)
    assert multiply_adds(lambda: net(x)) == forward
    # the input needs no gradient: the first layer's backward pass is one product, not two
    backward = 11 * (5 * 7 + 2 * 7 * 3)
    assert multiply_adds(lambda: net(x).sum().backward()) == forward + backward


@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('groups', [1, 2, 4])
def test_a_grouped_convolution_is_as_many_convolutions_of_its_groups(groups, transposed):
    """Forward pass and both gradients; those of the groups by themselves are the oracle."""
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    options = dict(stride=2, padding=1, bias=False)
    whole = kind(8, 4, 3, groups=groups, **options)
    part = kind(8 // groups, 4 // groups, 3, **options)
    x = torch.rand(2, 8, 9, 7, requires_grad=True)
    one = torch.rand(2, 8 // groups, 9, 7, requires_grad=True)
    count = multiply_adds(lambda: whole(x).sum().backward())
    assert count == groups * multiply_adds(lambda: part(one).sum().backward())
    assert count == 3 * multiply_adds(lambda: whole(x))


def test_multiply_adds_under_vmap_are_those_of_a_loop():
    weight, x = torch.randn(4, 6, 5), torch.randn(3, 5)
    count = multiply_adds(lambda: torch.vmap(lambda w: x @ w.T)(weight))
    assert count == multiply_adds(lambda: [x @ w.T for w in weight]) == 4 * 3 * 5 * 6


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_peak_memory_is_what_was_taken_and_given_back():
    """In a process of its own, after a larger peak before the call."""
    code = """
import torch
from mtpeft.benchmark import peak_memory
torch.ones(75 * 2**20)  # 300 MB, gone again
for megabytes in (160, 40):
    found = peak_memory(lambda: torch.ones(megabytes * 2**18).sum())
    print(found['above_mb'], found['source'])
"""
    environ = {**os.environ, **PROMPT_FREE}
    done = subprocess.run(
        [sys.executable, '-c', code], env=environ, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    if 'cannot be set back' in done.stdout:
        pytest.skip('/proc/self/clear_refs cannot be written here')
    above = [float(line.split()[0]) for line in done.stdout.splitlines()]
    assert above == pytest.approx([160, 40], abs=4)


@pytest.fixture(scope='module')
def cfg():
    init_default_scope('mtpeft')
    return tiny()


def test_variants_do_not_change_the_config_they_are_made_of(cfg):
    before = cfg.to_dict()
    changed = variants.with_rank(variants.without_dropout(cfg), 1)
    copies = variants.with_copies(cfg, 3)
    assert cfg.to_dict() == before
    (plugin,) = changed.model.backbone.plugins
    assert (plugin.cfg.rank, plugin.cfg.task_rank, plugin.cfg.dropout) == (1, 1, 0.0)
    assert changed.model.backbone.backbone.drop_path_rate == 0
    model = MODELS.build(copies.model)
    assert (
        list(model.tasks) == ['normals_1', 'normals_2', 'normals_3'] == list(model.backbone.tasks)
    )
    assert {task.channels for task in model.tasks.values()} == {3}
    drawn = [m for m in MODELS.build(changed.model).modules() if getattr(m, 'drop_prob', 0)]
    assert not drawn


def test_spectral_filters_are_made_for_the_size_that_is_measured(cfg):
    """Others would be interpolated in every pass."""
    cfg = copy.deepcopy(cfg)
    cfg.model.necks.append(dict(type='TSPD'))
    sizes = []
    for changed in (cfg, variants.with_size(cfg, (64, 96))):
        neck = MODELS.build(changed.model).necks[-1]
        sizes.append([f.base_size for f in neck.cw_sp.filters['depth']])
    assert sizes == [[(4, 4), (2, 2), (1, 1), (1, 1)], [(8, 12), (4, 6), (2, 3), (2, 3)]]
    del cfg.model['img_size']
    assert 'img_size' not in variants.with_size(cfg, (64, 96)).model


def test_a_step_is_the_step_of_plain_pytorch(cfg):
    """Clipped gradients, AdamW, no decay of parameters with one axis: against a loop by hand."""
    cfg = variants.without_dropout(cfg)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(variants.wake(MODELS.build(cfg.model)))
    samples = random_batch(models[0].tasks, 2, (32, 32))['data_samples']
    x = torch.randn(2, 3, 32, 32)
    options = dict(lr=1e-2, weight_decay=0.3)
    step = training_step(models[0], x, samples, dict(type='AdamW', **options), max_norm=0.1)
    step()
    losses = models[1].train()(x, samples, mode='loss')
    (losses['loss_semseg'] + losses['loss_depth']).backward()
    named = {n: p for n, p in models[1].named_parameters() if p.grad is not None}
    norm = torch.stack([p.grad.norm() for p in named.values()]).norm()
    assert norm > 0.1
    for name, parameter in named.items():
        flat = parameter.ndim - ('task_' in name) < 2
        parameter.grad *= 0.1 / (norm + 1e-6)
        decay = 0.0 if flat else options['weight_decay']
        torch.optim.AdamW([parameter], lr=options['lr'], weight_decay=decay).step()
    for (name, got), wanted in zip(
        models[0].named_parameters(), models[1].parameters(), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6, msg=name)
        assert got.grad is None


def test_inference_gives_the_logits_in_eval_mode(cfg):
    model = MODELS.build(cfg.model)
    x = torch.randn(1, 3, 32, 32)
    logits = inference(model.train(), x)()
    assert not model.training
    with torch.no_grad():
        wanted = model(x)
    for name, value in wanted.items():
        torch.testing.assert_close(logits[name], value)
        assert not logits[name].requires_grad


def test_difference_is_relative_to_each_task():
    wanted = dict(a=torch.tensor([1.0, -100.0]), b=torch.tensor([0.01]))
    got = dict(a=torch.tensor([1.0, -99.0]), b=torch.tensor([0.0105]))
    assert variants.difference(got, wanted) == pytest.approx(0.05)


def test_labels_of_copies_fit():
    cfg = Config(dict(model=dict(tasks={}, backbone={}, decoder=dict(heads=dict(sal={})))))
    changed = variants.with_copies(cfg, 2, 'depth')
    assert list(build_tasks(changed.model.tasks)) == ['depth_1', 'depth_2']
    assert 'heads' not in changed.model.decoder


def test_inference_after_a_training_step_forms_nothing_while_it_is_timed():
    model = Doubled()
    call = inference(model, torch.ones(3))
    for _ in range(2):
        model.train()
        call.prepare()
        before = model.times
        call.function()
        assert model.times == before > 0
        call()
        assert model.times == before


def test_what_is_done_before_a_call_is_not_counted():
    model = nn.Linear(4, 3, bias=False)
    call = inference(model, torch.ones(2, 4))
    assert model.training and multiply_adds(call) == 2 * 4 * 3
    assert not model.training and multiply_adds(call) == 2 * 4 * 3
