"""Some of the tasks: the same values, and the operations of the others saved."""

import itertools

import pytest
import torch
from helpers.adapter_grid import label, methods, stir
from helpers.backbones import TASKS as THREE
from helpers.backbones import TINY, tiny
from helpers.configs import PICO, build
from mmengine.model import BaseModule
from models.tiny_models import tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from mtpeft.models import TADFormerBackbone
from mtpeft.models.backbones import AdapterBackbone

TASKS = dict(semseg=dict(num_classes=5), sal=dict(), depth=dict())
SIZES = ((16, 24), (8, 12))
SPECTRAL = [
    dict(type='TSPD', base_sizes=SIZES),
    dict(type='TSPD', cw_sp=dict(filter='radial')),
    dict(type='TSPD', base_sizes=SIZES, xt_cons=None),
    dict(type='ChannelwiseSpectralFilter', base_sizes=SIZES),
    dict(type='ChannelwiseSpectralFilter', filter='radial'),
    dict(type='CrossTaskConsensus'),
]
SOME = 'timm Swin', 'mmseg Swin', 'timm ViT', 'timm EfficientNet'
some = pytest.mark.parametrize('family', SOME)


def picture(size=(64, 96), batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def flat(result):
    pairs = result.items()
    return {
        (t, i): x
        for t, own in pairs
        for i, x in enumerate(own if isinstance(own, tuple) else [own])
    }


def subsets(tasks):
    tasks = list(tasks)
    return [[tasks[-1]], tasks[:2], tasks[::2], tasks[::-1]]


@torch.no_grad()
def check(module, tasks, x):
    """Every subset gives the entries of the full result, in its order."""
    full = module(x)
    assert list(full) == list(tasks)
    for wanted in subsets(tasks):
        found = module(x, tasks=wanted)
        assert list(found) == [t for t in tasks if t in wanted]
        for key, value in flat(found).items():
            expected = flat(full)[key]
            peak = float(expected.abs().max())
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=2e-6 * peak, msg=str(key))


class Operations(TorchDispatchMode):
    """Of the products of a call, by PyTorch's formulas, and nothing else (which takes long)."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


@torch.no_grad()
def operations(module, x, tasks):
    with Operations() as counter:
        module(x, tasks=tasks)
    return counter.total


def check_operations(module, tasks, x):
    """A task costs the same whichever others are asked for, and something."""
    a, b, c = tasks
    cost = {
        s: operations(module, x, s) for n in (1, 2, 3) for s in itertools.combinations(tasks, n)
    }
    for one, other, third in [(a, b, c), (b, c, a)]:
        pair = tuple(t for t in tasks if t in (one, other))
        without = tuple(t for t in tasks if t in (other, third))
        alone, all_of_it = cost[pair] - cost[(other,)], cost[a, b, c] - cost[without]
        assert alone == all_of_it > 0, (one, other)
    return cost


@pytest.mark.parametrize('method', methods(), ids=label)
def test_lanes_of_every_method(method):
    """Families and strategies by turns: all pairs of them come."""
    turn = methods().index(method)
    family, strategy = SOME[turn % 4], ('vmap', 'fold', 'loop')[turn % 3]
    try:
        model = tiny(family, method, lane_strategy=strategy).eval().double()
    except ValueError as error:
        pytest.skip(str(error))
    stir(model, 0.1)
    check(model, THREE, picture().double())


@some
@pytest.mark.parametrize('method', [dict(type='DoRA', rank=2), dict(type='Polyhistor')], ids=label)
@pytest.mark.parametrize('strategy', ['fold', 'loop'])
def test_streams_through_the_whole_network(family, method, strategy):
    model = tiny(family, method, streams='network', lane_strategy=strategy).eval().double()
    stir(model, 0.1)
    check(model, THREE, picture().double())
    check_operations(model, THREE, picture(batch=1).double())


@pytest.mark.parametrize('type', ['timm Swin', 'mmseg Swin'])
@pytest.mark.parametrize(('kind', 'number'), [('dynamic', 2), ('static', 1), ('none', 2)])
def test_tadformer(type, kind, number):
    lora = dict(type='TADFormer', rank=6)
    model = TADFormerBackbone(
        TINY[type],
        plugins=[
            dict(cfg=lora, targets=['qkv']),
            dict(cfg=dict(lora, filter=kind), targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
        tasks=THREE, prompts_per_task=number,
    ).eval()  # fmt: skip
    stir(model, 0.1)
    check(model, THREE, picture())
    check_operations(model, THREE, picture())


@some
@pytest.mark.parametrize('strategy', ['vmap', 'fold', 'loop'])
@pytest.mark.parametrize('merged', [False, True])
def test_operations_of_lanes(family, strategy, merged):
    model = tiny(family, dict(type='LoRA', rank=2), lane_strategy=strategy).eval()
    stir(model, 0.1)
    if merged:
        model.merge_adapters()
    check(model, THREE, picture())
    if merged or strategy != 'vmap':
        check_operations(model, THREE, picture(batch=1))
        return
    # what a lane costs depends on how many there are: the cheapest form is taken
    costs = [operations(model, picture(), THREE[:n]) for n in (1, 2, 3)]
    assert costs == sorted(set(costs))


def test_operations_are_those_of_the_librarys_counter():
    model = tiny('timm EfficientNet', dict(type='DoRA', rank=2)).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(picture(), tasks=THREE[:2])
    assert operations(model, picture(), THREE[:2]) == counter.get_total_flops() > 0


def test_a_shared_stream_made_of_lanes_needs_them_all():
    model = tiny('timm Swin', dict(type='MTLoRA', rank=2, mode='addition')).eval()
    check(model, THREE, picture())
    cost = check_operations(model, THREE, picture())
    lanes = model.lanes['layers.0.blocks.1']
    assert lanes.copies([0]) == lanes.copies() == 1 + len(THREE)
    assert cost['depth',] < cost[THREE]  # merging of streams


@pytest.mark.parametrize('path', PICO, ids=lambda path: path.name)
def test_every_config(path):
    """Every other one merged."""
    model = build(path).eval()
    stir(model, 0.05)
    if PICO.index(path) % 2:
        model.merge_adapters()
    if len(model.tasks) > 2:
        check(model, model.tasks, picture())


@pytest.mark.parametrize('neck', SPECTRAL, ids=label)
def test_necks_that_read_others_get_them(neck):
    model = tiny_model(TASKS, necks=[dict(type='ProjectionNeck', out_channels=(3, 4)), neck]).eval()
    with torch.no_grad():
        for parameter in model.necks.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    check(model, TASKS, picture())
    cost = check_operations(model, list(TASKS), picture())
    plain = tiny_model(TASKS).eval()
    alone = operations(plain, picture(), ['depth'])
    assert (cost['depth',] == alone) == (not model.necks[1].reads_others)


def test_shared_base_decoder_and_mmseg_heads():
    for decoder in (
        dict(type='SharedBaseDecoder', channels=12),
        dict(type='MultiHeadDecoder', head=dict(type='mmseg.UPerHead', channels=4,
                                                pool_scales=(1, 2), norm_cfg=dict(type='BN'))),
    ):  # fmt: skip
        model = tiny_model(TASKS, decoder=decoder).eval()
        check(model, TASKS, picture())
        check_operations(model, list(TASKS), picture())


class Mean(BaseModule):
    """A neck that makes each task's levels of all tasks', and knows nothing of requests."""

    out_channels = (6, 8)

    def forward(self, features):
        self.seen = list(features)
        levels = [torch.stack(level).mean(0) for level in zip(*features.values(), strict=True)]
        return dict.fromkeys(features, tuple(levels))


def test_a_neck_that_knows_of_no_request_gets_everything():
    necks = [dict(type='RescaleNeck', in_channels=(6, 8), scales=(2, 1)), Mean(),
             dict(type='ProjectionNeck', out_channels=(3, 4))]  # fmt: skip
    model = tiny_model(TASKS, necks=necks).eval()
    check(model, TASKS, picture())
    assert model.necks[1].seen == list(TASKS)


def test_predictions_and_errors():
    model = tiny_model(TASKS).eval()
    full, some = model.predict(picture()), model.predict(picture(), tasks=['depth'])
    for whole, part in zip(full, some, strict=True):
        assert torch.equal(whole.get_pred('depth'), part.get_pred('depth'))
        assert part.get_pred('sal') is None
    for call in (model, model.predict, lambda x, tasks: model(x, mode='predict', tasks=tasks)):
        with pytest.raises(KeyError, match="no task 'dept'.*'depth'"):
            call(picture(), tasks=['dept'])
        with pytest.raises(TypeError, match=r"write \['depth'\]"):
            call(picture(), tasks='depth')
        with pytest.raises(ValueError, match='at least one task'):
            call(picture(), tasks=[])
    with pytest.raises(ValueError, match="mode='loss' is of all tasks"):
        model(picture(), [], mode='loss', tasks=['depth'])


def test_a_backbone_alone_knows_its_tasks():
    model = tiny('timm Swin').eval()
    with pytest.raises(KeyError, match="backbone has no task 'dept'.*'depth'"):
        model(picture(), tasks=['dept'])
    assert list(AdapterBackbone(TINY['timm Swin'])(picture())[0].shape) == [2, 8, 16, 24]


@pytest.mark.parametrize('type', ['MTLoRA', 'DoRA', 'SineAWB'])
@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_are_those_of_the_full_result(type, with_cp):
    grads = []
    for wanted in (None, ['depth'], ['depth', 'normals']):
        torch.manual_seed(0)
        model = tiny('timm Swin', dict(type=type, rank=2), with_cp=with_cp).eval().double()
        stir(model, 0.1)
        sum(x.square().mean() for x in model(picture().double(), tasks=wanted)['depth']).backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for found in grads[1:]:
        for name, grad in grads[0].items():
            torch.testing.assert_close(found.get(name, torch.zeros_like(grad)), grad)
