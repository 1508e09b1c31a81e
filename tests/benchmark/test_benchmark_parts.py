"""Parts of a step, sweeps, profiles and plots."""

import copy

import pytest
import timm
import torch
from helpers.engine import tiny
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from models.tiny_models import TinyBackbone, tiny_model

from mtpeft.benchmark import (
    CLOCKS,
    component_times,
    draw_sweep,
    multiply_adds,
    profile_table,
    random_batch,
    runner_step,
    save_sweep,
    sweep,
    sweep_table,
)
from mtpeft.benchmark.components import Stopwatch
from mtpeft.registry import MODELS

SIZE = (32, 32)


@pytest.fixture(scope='module')
def cfg():
    init_default_scope('mtpeft')
    return tiny()


def built(cfg, **backbone):
    """Model, optimizer wrapper and batch; the second block of a stage has the lanes."""
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.update(backbone)
    cfg.model.backbone.backbone.update(depths=(2, 1, 1, 1), drop_path_rate=0.0)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    return model, build_optim_wrapper(model, cfg.optim_wrapper), random_batch(model.tasks, 1, SIZE)


@pytest.fixture
def nap(monkeypatch):
    """A function that takes a second on a clock by which all else takes no time."""
    now = [0.0]
    monkeypatch.setitem(CLOCKS, 'wall', lambda: now[0])

    def nap(*_):
        now[0] += 1

    return nap


def test_a_part_does_not_count_what_is_inside_it(nap):
    watch = Stopwatch()
    with watch.part('outer'):
        nap()
        with watch.part('inner'):
            nap(), nap()
        nap()
    with watch.part('whole', whole=True):
        nap()
        watch.enter('inner')
        nap()
        watch.leave()
    assert watch.seconds == dict(outer=2, inner=2, whole=2)


SLOW = {
    'stem': lambda model: model.backbone.network.patch_embed,
    'shared blocks': lambda model: model.backbone.network.layers[0].blocks[0].norm1,
    'lane blocks': lambda model: model.backbone.network.layers[2].blocks[0].norm2,
    'merging': lambda model: model.backbone.network.layers[1].downsample.norm,
    'necks': lambda model: model.necks[0].proj['depth'][3],
    'heads': lambda model: model.decoder.heads['semseg'].norm,
}


@pytest.mark.parametrize('part', [*SLOW, 'losses'])
def test_a_slow_module_slows_its_part_alone(cfg, part, nap, monkeypatch):
    model, wrapper, batch = built(cfg)
    if part == 'losses':
        loss = model.losses['depth']
        compute = loss.compute
        monkeypatch.setattr(loss, 'compute', lambda *args: (nap(), compute(*args))[1])
    else:
        SLOW[part](model).register_forward_pre_hook(nap)
    times = component_times(model, wrapper, batch, steps=1, warmup=0)
    for step, parts in times.items():
        slow = {name: seconds for name, seconds in parts.items() if seconds}
        if part == 'losses' and step == 'inference':
            assert not slow
        else:
            # lane blocks and mergings run for the shared stream and for the lanes
            assert slow == {part: 2 if part in ('lane blocks', 'merging') else 1}


def test_blocks_computed_again_count_for_the_backward_pass(cfg, nap):
    model, wrapper, batch = built(cfg, with_cp=True)
    model.backbone.network.layers[0].blocks[0].norm1.register_forward_pre_hook(nap)
    times = component_times(model, wrapper, batch, steps=1, warmup=0)
    assert (times['train']['shared blocks'], times['train']['backward pass']) == (1, 1)
    assert times['inference']['shared blocks'] == 1


def test_watching_leaves_no_trace_and_takes_the_same_step(cfg):
    watched, plain = built(cfg), built(cfg)
    lanes = watched[0].backbone.lanes
    component_times(*watched, steps=1, warmup=0)
    torch.manual_seed(0)
    runner_step(*plain)()
    model = watched[0]
    assert model.backbone.lanes is lanes
    assert not {'stem', 'run_merge', 'before_reduction'} & set(vars(model.backbone.family))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    # dropout of the adapters draws otherwise: only what does not depend on it is compared
    assert watched[1].optimizer.state_dict()['state'].keys() == (
        plain[1].optimizer.state_dict()['state'].keys()
    )


def test_any_backbone_has_parts():
    model = tiny_model(tasks=['sal'], backbone=dict(type=TinyBackbone))
    wrapper = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    )
    times = component_times(model, wrapper, random_batch(model.tasks, 1, SIZE), steps=1, warmup=0)
    known = {'rest of the backbone', 'necks', 'heads'}
    assert known < set(times['inference']) < set(times['train'])
    assert {'losses', 'backward pass', 'optimizer step'} < set(times['train'])


def test_each_further_task_adds_the_same_operations(cfg):
    result = sweep(cfg, 'tasks', (1, 2, 3), size=SIZE, rounds=1, warmup=0)
    rows = result['rows']
    assert [row['value'] for row in rows] == [1, 2, 3]
    (frozen,) = result['frozen_backbone']
    options = dict(cfg.model.backbone.backbone)
    options.pop('pretrained')
    name = options.pop('type').split('.')[1]
    stock = timm.create_model(name, num_classes=0, strict_img_size=False, **options).eval()
    with torch.no_grad():
        plain = multiply_adds(lambda: stock.forward_features(torch.zeros(1, 3, *SIZE)))
    assert frozen['multiply_adds'] == plain
    rate = frozen['multiply_adds'] / frozen['seconds']['median']
    for part in ('train', 'inference'):
        counts = [row[part]['multiply_adds'] for row in rows]
        assert counts[1] - counts[0] == counts[2] - counts[1] > 0
        for before, row in zip(rows, rows[1:], strict=False):
            further, seconds = row[part]['further'], row[part]['seconds']['median']
            assert further['multiply_adds'] == counts[1] - counts[0]
            added = seconds - before[part]['seconds']['median']
            assert further['seconds']['median'] == pytest.approx(added)
            floor = further['multiply_adds'] / rate
            assert further['floor_seconds'] == pytest.approx(floor)
            assert further['distance']['median'] == pytest.approx(added / floor)
    assert all(f'{value} train' in sweep_table(result) for value in (1, 2, 3))


def test_a_sweep_over_sizes_has_a_floor_at_each(cfg, tmp_path):
    result = sweep(cfg, 'size', (64, 32), rounds=2, warmup=0)
    large, small = result['frozen_backbone']
    assert (large['size'], small['size']) == ((64, 64), (32, 32))
    assert large['multiply_adds'] > small['multiply_adds']
    for row, frozen in zip(result['rows'], (large, small), strict=True):
        cost = row['inference']
        share = cost['multiply_adds'] / frozen['multiply_adds']
        assert share > 1
        assert cost['floor_seconds'] == pytest.approx(share * frozen['seconds']['median'])
    figure = draw_sweep(result, 'tiny')
    assert [axes.get_title() for axes in figure.axes] == ['train', 'inference']
    measured = figure.axes[0].lines[0]
    assert list(measured.get_xdata()) == [32, 64]
    assert list(measured.get_ydata()) == [
        row['train']['seconds']['median'] for row in result['rows'][::-1]
    ]
    save_sweep(result, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')


def test_a_smaller_rank_is_less_work(cfg):
    rows = sweep(cfg, 'rank', (4, 2), size=SIZE, rounds=1, warmup=0)['rows']
    assert rows[0]['train']['multiply_adds'] > rows[1]['train']['multiply_adds']
    frozen = copy.deepcopy(cfg)
    frozen.model.backbone.plugins = []
    with pytest.raises(ValueError, match="option 'rank'"):
        sweep(frozen, 'rank')


def test_a_profile_lists_operators_and_writes_a_trace(tmp_path):
    x = torch.randn(64, 64)
    text = profile_table(lambda: (x @ x).softmax(-1), trace=tmp_path / 'trace.json')
    assert 'aten::mm' in text and 'aten::_softmax' in text
    assert 'traceEvents' in (tmp_path / 'trace.json').read_text()


def test_products_in_place_are_counted():
    a, b, out = torch.ones(4, 3), torch.ones(3, 5), torch.zeros(4, 5)
    assert multiply_adds(lambda: out.addmm_(a, b)) == 60
    assert multiply_adds(lambda: out[None].baddbmm_(a[None], b[None])) == 60
