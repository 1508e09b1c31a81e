"""TS-PD: the two steps one after the other, and the published count."""

import copy

import numpy as np
import pytest
import torch
from helpers import spectral_oracle as oracle
from helpers.backbones import TINY
from helpers.spectral_oracle import array, shake
from mmengine.model import BaseModule

from mtpeft.models import MultiTaskModel, parameter_components
from mtpeft.models.necks import TSPD, ChannelwiseSpectralFilter, CrossTaskConsensus
from mtpeft.registry import MODELS

PASCAL = ('semseg', 'human_parts', 'sal', 'normals')
WIDTHS = (18, 36, 72, 144)
TASKS = ('semseg', 'sal', 'depth')
RADIAL = dict(cw_sp=dict(filter='radial'))
SIZES = ((7, 6), (4, 3))
KINDS = pytest.mark.parametrize('kind', ['radial', 'full'])


def build(widths=(3, 4), tasks=TASKS, sizes=SIZES, **options):
    cfg = dict(type='TSPD', in_channels=widths, tasks=tasks, base_sizes=sizes, **options)
    return MODELS.build(cfg)


def streams(*sizes, widths=(3, 4), tasks=TASKS, dtype=torch.float32):
    return {
        name: tuple(torch.randn(2, c, *s, dtype=dtype) for c, s in zip(widths, sizes, strict=True))
        for name in tasks
    }


def size_of(module):
    return sum(p.numel() for p in module.parameters())


@KINDS
def test_count(kind):
    if kind == 'radial':
        options, weights = RADIAL, 16 * sum(WIDTHS)
    else:
        # levels at strides 8, 16, 32, 32 of 448 x 448
        options = dict(base_sizes=((56, 56), (28, 28), (14, 14), (14, 14)))
        weights = 18 * 56 * 29 + 36 * 28 * 15 + (72 + 144) * 14 * 8
    a_task = weights + 2 * sum(WIDTHS) + len(WIDTHS) + 4 * len(WIDTHS)
    assert a_task == (4_880 if kind == 'radial' else 69_104)
    neck = TSPD(WIDTHS, PASCAL, **options)
    for task in PASCAL:
        own = size_of(neck.cw_sp.filters[task]) + size_of(neck.xt_cons.bands[task])
        assert own == a_task
    assert size_of(neck) == 4 * a_task
    assert parameter_components(neck) == {'ts_pd': 4 * a_task}
    assert size_of(TSPD(WIDTHS, PASCAL, xt_cons=None, **options)) == 4 * a_task - 64
    assert size_of(TSPD(WIDTHS, ['sal'], **options)) == a_task - 16  # nobody to agree with
    assert size_of(TSPD(WIDTHS, PASCAL, cw_sp=None)) == 64  # which needs no sizes
    assert neck.out_channels == WIDTHS


@pytest.mark.parametrize('low', ['complex', 'amplitude'])
@pytest.mark.parametrize('size', oracle.SIZES, ids=str)
@KINDS
def test_is_the_two_steps_with_the_consensus_of_unfiltered_features(size, low, kind):
    options = RADIAL if kind == 'radial' else dict(sizes=(size, (5, 4)))
    neck = shake(build(xt_cons=dict(low=low), **options))
    x = streams(size, (5, 4))
    out = neck(x)
    for task in TASKS:
        for i in range(2):
            filtered = oracle.cw_sp(array(x[task][i]), neck.cw_sp.filters[task][i])
            others = [array(x[name][i]) for name in TASKS if name != task]
            wanted = oracle.xt_cons(filtered, others, neck.xt_cons.bands[task][i], low)
            assert out[task][i].shape == x[task][i].shape
            # of the level's height: single precision against double
            error = abs(array(out[task][i]) - wanted).max()
            assert error < 1e-5 * max(1, abs(wanted).max())


def test_the_consensus_is_not_of_filtered_features():
    """The test above can tell: the other order is far away."""
    neck, x = shake(build()), streams((8, 8), (5, 4))
    after = neck.xt_cons(neck.cw_sp(x))
    assert (after['sal'][0] - neck(x)['sal'][0]).abs().max() > 0.1


def test_filters_of_other_sizes_in_both_forms():
    neck = shake(build(sizes=[(6, 6), (3, 3)], xt_cons=dict()))
    with torch.no_grad():
        for p in neck.xt_cons.parameters():
            p.zero_()
    x = streams((9, 6), (5, 4))
    for task, levels in neck.cw_sp(x).items():
        for a, b in zip(levels, neck(x)[task], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_parts_can_be_left_out():
    x = streams((7, 6), (4, 3))
    filters, consensus = shake(build(xt_cons=None)), shake(build(cw_sp=None))
    assert filters.xt_cons is None and consensus.cw_sp is None
    assert all(name.startswith('cw_sp.') for name in filters.state_dict())
    assert all(name.startswith('xt_cons.') for name in consensus.state_dict())
    alone = ChannelwiseSpectralFilter((3, 4), TASKS, base_sizes=SIZES)
    alone.load_state_dict(filters.cw_sp.state_dict())
    assert torch.equal(filters(x)['sal'][0], alone(x)['sal'][0])
    alone = CrossTaskConsensus((3, 4), TASKS)
    alone.load_state_dict(consensus.xt_cons.state_dict())
    assert torch.equal(consensus(x)['sal'][1], alone(x)['sal'][1])
    with pytest.raises(ValueError, match='got None for both'):
        build(cw_sp=None, xt_cons=None)


def test_options_reach_the_parts():
    neck = build(cw_sp=dict(filter='radial', bins=5, alpha=0.3), xt_cons=dict(low='amplitude'))
    assert neck.cw_sp.filters['sal'][1].delta.shape == (5, 4)
    assert neck.cw_sp.filters['sal'][1].alpha == torch.tensor(0.3)
    assert neck.xt_cons.low == 'amplitude'
    sized = build(cw_sp=dict(base_sizes=((5, 2), (3, 2))))
    assert sized.cw_sp.filters['sal'][0].delta.shape == (3, 5, 2)  # before the neck's own
    assert build(cw_sp=dict(std=0.5)).cw_sp.filters['sal'][0].delta.std() > 0.3
    with pytest.raises(ValueError, match='Set `img_size` of the MultiTaskModel'):
        build(sizes=None)
    with pytest.raises(TypeError, match="no option 'bin'. Did you mean 'bins'"):
        build(cw_sp=dict(bin=5))
    with pytest.raises(TypeError, match="no option 'lo'. Did you mean 'low'"):
        build(xt_cons=dict(lo='complex'))


@pytest.mark.parametrize('tasks', [['sal'], None], ids=str)
def test_one_stream_is_filtered_only(tasks):
    neck = shake(build(tasks=tasks, sizes=((5, 4), (2, 3))))
    levels = (torch.randn(1, 3, 5, 4), torch.randn(1, 4, 2, 3))
    out, name = (neck(levels), 'shared') if tasks is None else (neck(levels)['sal'], 'sal')
    assert isinstance(out, tuple)
    for x, y, f in zip(levels, out, neck.cw_sp.filters[name], strict=True):
        np.testing.assert_allclose(array(y), oracle.cw_sp(array(x), f), atol=1e-5)
    sum(y.pow(3).sum() for y in out).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_a_tuple_is_shared_by_all():
    neck = shake(build())
    levels = (torch.randn(1, 3, 5, 4), torch.randn(1, 4, 2, 3))
    shared, each = neck(levels), neck(dict.fromkeys(reversed(TASKS), levels))
    assert list(shared) == list(each) == list(TASKS)
    assert torch.equal(shared['depth'][0], each['depth'][0])


def test_permuted_tasks_permute_the_results():
    neck, x = shake(build()), streams((7, 6), (4, 3))
    turned = build(tasks=TASKS[::-1])
    turned.load_state_dict(neck.state_dict())
    out, back = neck(x), turned(x)
    for task in TASKS:
        torch.testing.assert_close(out[task][0], back[task][0])


@pytest.mark.parametrize('low', ['complex', 'amplitude'])
@KINDS
def test_gradients_reach_every_parameter(low, kind):
    options = RADIAL if kind == 'radial' else dict(sizes=((30, 30), (9, 8)))
    neck = shake(build(xt_cons=dict(low=low), **options))
    out = neck(streams((32, 33), (9, 8)))
    sum(y.pow(3).sum() for levels in out.values() for y in levels).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in neck.parameters())


@KINDS
def test_gradcheck(kind):
    options = dict(cw_sp=dict(filter='radial', bins=3)) if kind == 'radial' else {}
    neck = shake(build((1,), ['sal', 'depth'], ((3, 4),), **options)).double()
    a, b = (torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True) for _ in 'ab')

    def call(a, b):
        out = neck(dict(sal=(a,), depth=(b,)))
        return out['sal'][0], out['depth'][0]

    assert torch.autograd.gradcheck(call, (a, b))


def test_autocast_and_copies():
    neck = shake(build())
    x = {name: tuple(y.bfloat16() for y in levels) for name, levels in
         streams((7, 9), (4, 5)).items()}  # fmt: skip
    wanted = neck({name: tuple(y.float() for y in levels) for name, levels in x.items()})
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = copy.deepcopy(neck)(x)
    assert torch.equal(out['sal'][0], wanted['sal'][0].bfloat16())
    assert set(neck.state_dict()) == {name for name, _ in neck.named_parameters()}


def test_errors_name_the_neck_of_the_config():
    with pytest.raises(ValueError, match=r"TSPD expected \(B, 4, H, W\) at level 1 of task 'sal'"):
        build()({**streams((4, 4), (2, 2)), 'sal': (torch.rand(1, 3, 4, 4),) * 2})
    with pytest.raises(KeyError, match="stream of 'edge', which is none of TSPD's tasks"):
        build()(streams((4, 4), (2, 2), tasks=(*TASKS, 'edge')))
    x = {**streams((4, 4), (2, 2)), 'sal': streams((4, 5), (2, 2))['sal']}
    with pytest.raises(ValueError, match='equal shapes of all tasks at level 0'):
        build()(x)


RESNET = dict(type='mmseg.ResNet', depth=18, base_channels=8, stem_channels=8)
HEADS = dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8))


def model_with(necks, backbone=RESNET, **options):
    return MultiTaskModel(
        tasks=['sal', 'depth'], backbone=backbone, necks=necks, decoder=HEADS, **options
    )


@KINDS
def test_trains_in_a_model(kind):
    """A backbone that does not say its strides: the sizes are typed."""
    sizes = ((9, 10), (5, 5), (3, 3), (2, 2))
    options = RADIAL if kind == 'radial' else dict(base_sizes=sizes)
    model = model_with(
        [dict(type='ProjectionNeck', in_channels=(8, 16, 32, 64), out_channels=(2, 3, 4, 5)),
         dict(type='TSPD', **options)],
    )  # fmt: skip
    neck = model.necks[1]
    assert neck.streams == ('sal', 'depth') and neck.out_channels == (2, 3, 4, 5)
    weights = [16 if kind == 'radial' else h * (w // 2 + 1) for h, w in sizes]
    of_filters = sum(c * (n + 2) for c, n in zip((2, 3, 4, 5), weights, strict=True))
    assert parameter_components(model)['ts_pd'] == 2 * (of_filters + 5 * 4)
    logits = model(torch.rand(2, 3, 33, 40))
    sum(x.square().mean() for x in logits.values()).backward()
    missing = [n for n, p in neck.named_parameters() if p.grad is None]
    assert not missing
    assert all(f.delta.grad.any() for levels in neck.cw_sp.filters.values() for f in levels)


@pytest.mark.parametrize('img_size', [(64, 96), (50, 70)], ids=str)
@pytest.mark.parametrize('tap', ['pre_merge', 'post_merge'])
@pytest.mark.parametrize('family', TINY)
def test_sizes_of_the_levels_are_found(family, tap, img_size):
    """Each filter is kept at the size of what comes to it; a pyramid is made of equal levels."""
    backbone = dict(type='AdapterBackbone', backbone=TINY[family], tap=tap)
    rescaled = [dict(type='RescaleNeck', scales=(2, 1, 1, 0.5))] if family == 'timm ViT' else []
    project = dict(type='ProjectionNeck', out_channels=(2, 3, 4, 5))
    model = model_with([*rescaled, project, dict(type='TSPD')], backbone, img_size=img_size).eval()
    seen = []
    model.necks[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(torch.rand(1, 3, *img_size))
        model(torch.rand(1, 3, 33, 40))  # any other
    for task, levels in seen[0].items():
        filters = model.necks[-1].cw_sp.filters[task]
        assert [f.base_size for f in filters] == [x.shape[-2:] for x in levels]


def test_a_model_that_does_not_know_the_sizes():
    project = dict(type='ProjectionNeck', in_channels=(8, 16, 32, 64), out_channels=(2, 3, 4, 5))
    own = dict(type='AdapterBackbone', backbone=TINY['timm Swin'])
    for options in (dict(img_size=(64, 64)), dict(backbone=own)):
        with pytest.raises(ValueError, match=r'Set `img_size` .* or `base_sizes` of the neck: 4 '):
            model_with([project, dict(type='TSPD')], **options)
    for wrong in (64, (64,), (64, 0), (64, 64.0), 'a'):
        with pytest.raises(ValueError, match='Expected `img_size` to be the height and width'):
            model_with([project], img_size=wrong)


def test_a_neck_between_keeps_or_drops_what_is_known():
    """``out_channels`` says how many levels a neck gives."""
    own = dict(type='AdapterBackbone', backbone=TINY['timm Swin'], tap='pre_merge')

    class Halved(BaseModule):
        out_channels = (8, 16)
        base_sizes = ((8, 8), (4, 4))

    class Fewer(BaseModule):
        out_channels = (8, 16)

    model = model_with([Halved(), dict(type='TSPD')], own, img_size=(64, 64))
    assert [f.base_size for f in model.necks[1].cw_sp.filters['sal']] == [(8, 8), (4, 4)]
    with pytest.raises(ValueError, match='Set `img_size`'):
        model_with([Fewer(), dict(type='TSPD')], own, img_size=(64, 64))
