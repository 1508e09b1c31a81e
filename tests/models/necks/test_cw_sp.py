"""CW-SP against NumPy's whole spectra and radii from plain loops."""

import math
import re

import numpy as np
import pytest
import torch
from helpers import spectral_oracle as oracle
from helpers.spectral_oracle import SIZES, array, shake

from mtpeft.models import parameter_components
from mtpeft.models.necks.spectra import high_band, low_band, radial_bins
from mtpeft.registry import MODELS

CPU = torch.device('cpu')
WIDTHS = (18, 36, 72, 144)
RADIAL, FULL = dict(filter='radial'), dict(base_sizes=((6, 5), (3, 3)))
KINDS = pytest.mark.parametrize('kind', [RADIAL, FULL], ids=['radial', 'full'])


def build(widths=(3, 4), tasks=('sal', 'depth'), **options):
    cfg = dict(type='ChannelwiseSpectralFilter', in_channels=widths, tasks=tasks, **options)
    return MODELS.build(cfg)


@pytest.mark.parametrize('size', [*SIZES, (28, 21), (112, 112)], ids=str)
def test_bins_and_bands(size):
    half = np.s_[:, : size[1] // 2 + 1]
    for count in (1, 3, 16, 20):
        found = radial_bins(size, CPU, count).numpy()
        np.testing.assert_array_equal(found, oracle.bins(size, count)[half])
    low, high = oracle.masks(size)
    np.testing.assert_array_equal(low_band(size, CPU, torch.float32).numpy(), low[half])
    np.testing.assert_allclose(high_band(size, CPU, torch.float64).numpy(), high[half], atol=1e-12)
    assert low_band(size, CPU, torch.float32)[0, 0] == 1 and radial_bins(size, CPU, 16)[0, 0] == 0


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_radial_formula(size):
    neck = shake(build(**RADIAL)).double()
    levels = (torch.randn(2, 3, *size).double(), torch.randn(2, 4, 5, 4).double())
    out = neck(levels)
    assert list(out) == ['sal', 'depth']
    for task in out:
        for x, y, f in zip(levels, out[task], neck.filters[task], strict=True):
            assert y.dtype == torch.float64
            np.testing.assert_allclose(array(y), oracle.cw_sp(array(x), f), atol=1e-10)


@KINDS
def test_start_is_near_a_gain_of_1_6_and_each_task_has_its_own(kind):
    neck = build(std=0.0, **kind)
    x = (torch.randn(2, 3, 7, 6), torch.randn(2, 4, 4, 3))
    for level, y in zip(x, neck(x)['sal'], strict=True):
        torch.testing.assert_close(y, 1.6 * level)
    sizes = ((8, 7), (4, 4), (3, 2), (2, 2))
    start = build(WIDTHS, **(kind if kind is RADIAL else dict(base_sizes=sizes)))
    deltas = torch.cat([f.delta.flatten() for levels in start.filters.values() for f in levels])
    frequencies = [16] * 4 if kind is RADIAL else [h * (w // 2 + 1) for h, w in sizes]
    assert len(deltas) == 2 * sum(c * n for c, n in zip(WIDTHS, frequencies, strict=True))
    assert abs(deltas.mean()) < 1e-3 and abs(deltas.std() - 0.02) < 1e-3
    assert not torch.equal(start.filters['sal'][0].delta, start.filters['depth'][0].delta)
    still = build(alpha=0.0, **kind)
    assert still.filters['sal'][0].alpha == 0
    torch.testing.assert_close(still(x)['sal'][0], x[0])


def test_one_bin_moves_the_energy_of_its_ring_only():
    """Parseval: what a gain of 3 in bin 5 adds is 8 times that ring's energy."""
    neck = build((1,), ['sal'], std=0.0, alpha=1.0, **RADIAL)
    with torch.no_grad():
        neck.filters['sal'][0].delta[5] = 2
    x = torch.randn(1, 1, 12, 10)
    # without the identity beside it: the filtered picture alone
    y = neck((x,))['sal'][0] - x
    ring = oracle.bins((12, 10), 16) == 5
    energy = (abs(oracle.fft(array(x))) ** 2)[0, 0][ring].sum()
    assert energy > 1e-2
    grown = y.square().sum() - x.square().sum()
    torch.testing.assert_close(float(grown), 8 * energy, rtol=1e-4, atol=1e-4)


@KINDS
def test_a_ripple_meets_the_gain_of_its_own_frequency(kind):
    """3 waves over 16 pixels: radius 6/16, bin 6; column 3."""
    sizes = {} if kind is RADIAL else dict(base_sizes=[(16, 16)])
    neck = build((2,), ['sal'], std=0.0, alpha=1.0, **{**kind, **sizes})
    with torch.no_grad():
        delta = neck.filters['sal'][0].delta
        delta[(6, 1) if kind is RADIAL else (1, 0, 3)] = 0.5
    wave = torch.cos(2 * math.pi * 3 * torch.arange(16) / 16).expand(1, 2, 16, 16)
    y = neck((wave,))['sal'][0]
    torch.testing.assert_close(y[:, 0], 2 * wave[:, 0])
    torch.testing.assert_close(y[:, 1], 2.5 * wave[:, 1])
    flat = torch.ones(1, 2, 16, 16)
    torch.testing.assert_close(neck((flat,))['sal'][0], 2 * flat)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_full_filter_at_its_own_size(size):
    """Weights of one frequency and its negative that differ act as their mean."""
    neck = shake(build((2,), ['sal'], base_sizes=[size])).double()
    f = neck.filters['sal'][0]
    assert f.delta.shape == (2, size[0], size[1] // 2 + 1)
    x = torch.randn(2, 2, *size).double()
    y = neck((x,))['sal'][0]
    np.testing.assert_allclose(array(y), oracle.cw_sp(array(x), f), atol=1e-10)


@pytest.mark.parametrize('base, size', [((8, 8), (12, 10)), ((9, 7), (4, 5)), ((4, 6), (9, 13)),
                                        ((1, 1), (3, 4)), ((6, 6), (1, 1))])  # fmt: skip
def test_full_filter_at_another_size(base, size):
    """Against NumPy's interpolation over frequencies, periodic in the rows."""
    neck = shake(build((2,), ['sal'], base_sizes=[base])).double()
    f = neck.filters['sal'][0]
    weights = 1 + array(f.delta)
    rows, columns = np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1])
    of_base = np.fft.fftfreq(base[0]), np.fft.rfftfreq(base[1])
    rowwise = np.stack([
        [np.interp(rows, of_base[0], column, period=1) for column in w.T] for w in weights
    ]).swapaxes(1, 2)  # fmt: skip
    # rfftfreq ends at +.5, where fftfreq would wrap to -.5
    half = np.stack([[np.interp(columns, of_base[1], row) for row in w] for w in rowwise])
    x = torch.randn(1, 2, *size).double()
    spectrum = np.fft.rfft2(array(x), norm='ortho') * half
    # the real part over whole spectra: columns that mirror themselves need both halves
    whole = np.fft.ifft(spectrum, axis=-2, norm='ortho')
    y = np.fft.irfft(whole, n=size[1], axis=-1, norm='ortho')
    wanted = array(x) + array(f.alpha) * (
        y * array(f.scale)[:, None, None] + array(f.shift)[:, None, None]
    )
    np.testing.assert_allclose(array(neck((x,))['sal'][0]), wanted, atol=1e-10)


def test_full_filter_that_is_even_stays_even():
    neck = build((3,), ['sal'], base_sizes=[(8, 7)], std=0.0)
    with torch.no_grad():
        neck.filters['sal'][0].delta.fill_(0.5)
    for size in [(8, 7), (16, 14), (5, 4), (1, 9)]:
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(neck((x,))['sal'][0], 1.9 * x)
    assert neck.filters['sal'][0].gain((31, 9)).unique().tolist() == [1.5]


@pytest.mark.parametrize('size', SIZES, ids=str)
@KINDS
def test_spectrum_of_the_output_without_a_detour(size, kind):
    options = dict(base_sizes=[(6, 5)]) if kind is FULL else RADIAL
    f = shake(build((3,), None, **options)).double().filters['shared'][0]
    x = torch.randn(2, 3, *size).double()
    spectrum = f.on_spectrum(torch.fft.rfft2(x, norm='ortho'), size)
    torch.testing.assert_close(spectrum, torch.fft.rfft2(f(x), norm='ortho'))


@KINDS
@pytest.mark.parametrize('sizes', [((6, 5), (3, 3)), ((12, 9), (6, 5)), ((32, 32), (16, 17))],
                         ids=['own', 'larger', 'large'])  # fmt: skip
def test_gradients_reach_every_weight(kind, sizes):
    neck = shake(build(**kind))
    levels = tuple(torch.randn(2, c, *size) for c, size in zip((3, 4), sizes, strict=True))
    sum(y.pow(3).sum() for levels in neck(levels).values() for y in levels).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in neck.parameters())
    if kind is FULL or sizes[0] == (32, 32):
        assert all((f.delta.grad != 0).all() for fs in neck.filters.values() for f in fs)


@pytest.mark.parametrize('options', [dict(RADIAL, bins=4), dict(base_sizes=[(3, 4)]),
                                     dict(base_sizes=[(4, 3)])], ids=str)  # fmt: skip
def test_gradcheck(options):
    f = shake(build((2,), None, **options)).double().filters['shared'][0]
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    values = [p.detach().clone().requires_grad_() for p in f.parameters()]
    names = [name for name, _ in f.named_parameters()]

    def call(x, *values):
        return torch.func.functional_call(f, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, (x, *values))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
@KINDS
def test_half_precision_is_rounded_only_at_the_end(dtype, kind):
    neck = shake(build(**kind))
    levels = (torch.randn(2, 3, 7, 9).to(dtype), torch.randn(2, 4, 4, 5))
    wanted = neck((levels[0].float(), levels[1]))['sal']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = neck(levels)['sal']
    assert [y.dtype for y in out] == [dtype, torch.float32]
    assert torch.equal(out[0], wanted[0].to(dtype)) and torch.equal(out[1], wanted[1])
    # a model in half precision as a whole
    halved = build(**kind)
    halved.load_state_dict(neck.state_dict())
    y = halved.to(dtype)(tuple(x.to(dtype) for x in levels))['sal'][0]
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), wanted[0], atol=0.05, rtol=0.05)


@KINDS
def test_state_and_components(kind):
    neck, other = shake(build(**kind)), build(**kind)
    state = neck.state_dict()
    assert list(state)[:4] == [
        f'filters.sal.0.{name}' for name in ('delta', 'scale', 'shift', 'alpha')
    ]
    levels = (torch.randn(1, 3, 5, 6), torch.randn(1, 4, 3, 3))
    wanted = neck(levels)
    assert len(state) == len(neck.state_dict()) == 16  # using it leaves nothing behind
    other.load_state_dict(state)
    assert torch.equal(other(levels)['depth'][1], wanted['depth'][1])
    assert parameter_components(neck) == {'ts_pd': sum(p.numel() for p in neck.parameters())}
    assert neck.out_channels == (3, 4)


def test_grids_of_inference_serve_training():
    neck, x = build((3,), ['sal'], **RADIAL), torch.randn(1, 3, 17, 23)
    with torch.inference_mode():
        neck((x,))
    neck((x,))['sal'][0].sum().backward()
    assert neck.filters['sal'][0].delta.grad.any()


@KINDS
def test_a_changing_size_compiles_into_one_graph(kind):
    neck = shake(build(**kind))
    compiled = torch.compile(neck, fullgraph=True, backend='eager')
    for size in [(9, 6), (11, 7)]:
        levels = (torch.randn(1, 3, *size), torch.randn(1, 4, 4, 4))
        torch.testing.assert_close(compiled(levels)['sal'][0], neck(levels)['sal'][0])


def test_inside_an_mmseg_model():
    """By its type alone; the neck gets a tuple and gives one, and is trained."""
    from mmengine.registry import MODELS as ROOT
    from mmengine.registry import DefaultScope
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    norm = dict(type='BN', requires_grad=True)
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3,
                               size=(64, 64), seg_pad_val=255),
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, norm_cfg=norm),
        neck=dict(type='mtpeft.ChannelwiseSpectralFilter', in_channels=[8, 16, 32, 64],
                  base_sizes=[(16, 16), (8, 8), (4, 4), (2, 2)]),
        decode_head=dict(type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1,
                         num_classes=3, norm_cfg=norm),
        train_cfg=dict(), test_cfg=dict(mode='whole'),
    )  # fmt: skip
    for kind in ('ChannelwiseSpectralFilter', 'TSPD'):
        cfg['neck']['type'] = f'mtpeft.{kind}'
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = ROOT.build(cfg)
        assert type(model.neck).__name__ == kind
        levels = model.backbone(torch.rand(1, 3, 64, 64))
        filtered = model.neck(levels)
        assert isinstance(filtered, tuple)
        assert [y.shape for y in filtered] == [x.shape for x in levels]
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 64, 64))))
        sample.set_metainfo(dict(img_shape=(64, 64), ori_shape=(64, 64)))
        batch = dict(inputs=[torch.randint(256, (3, 64, 64)).byte() for _ in 'ab'],
                     data_samples=[sample, sample.clone()])  # fmt: skip
        batch = model.data_preprocessor(batch, training=True)
        model(**batch, mode='loss')['decode.loss_ce'].backward()
        used = [p for n, p in model.neck.named_parameters() if 'shared.3.' in n]
        assert len(used) == 4 and all(p.grad is not None and p.grad.any() for p in used)


@pytest.mark.parametrize('options, words', [
    (dict(filter='radail'), "filter='radail' is unknown. Did you mean 'radial'"),
    (dict(RADIAL, bins=0), 'positive integer, got 0'),
    (dict(RADIAL, bins=2.5), 'positive integer, got 2.5'),
    (dict(RADIAL, bins=True), 'positive integer, got True'),
    (dict(FULL, bins=16), "bins=16 belongs to filter='radial'"),
    (dict(std=-1), 'at least 0, got -1'),
    ({}, 'Set `img_size` of the MultiTaskModel (in a config img_size={{_base_.size}})'),
    ({}, "`base_sizes` of the neck: 2 pairs (height, width), one a level. filter='radial' needs"),
    (dict(base_sizes=[(4, 4)]), 'one a level, got [(4, 4)]'),
    (dict(base_sizes=(4, 4)), 'all positive integers, got 4'),
    (dict(base_sizes=[(4, 4), (2, 0)]), 'all positive integers, got (2, 0)'),
    (dict(widths=(3, 0)), 'positive integers, got (3, 0)'),
    (dict(widths=()), 'positive integers, got ()'),
])  # fmt: skip
def test_options_that_are_refused(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        build(**options)


def test_features_that_are_refused():
    neck = build(**FULL)
    a, b = torch.rand(1, 3, 4, 4), torch.rand(1, 4, 2, 2)
    with pytest.raises(KeyError, match=r"stream of 'sel'.*Did you mean 'sal'"):
        neck(dict(sal=(a, b), depth=(a, b), sel=(a, b)))
    with pytest.raises(KeyError, match="no features for task 'depth'"):
        neck(dict(sal=(a, b)))
    with pytest.raises(ValueError, match="expected 2 levels for task 'sal', got 1"):
        neck((a,))
    with pytest.raises(ValueError, match=r"\(B, 4, H, W\) at level 1 of task 'depth', got "
                       r'\(1, 3, 4, 4\)'):  # fmt: skip
        neck(dict(sal=(a, b), depth=(a, a)))
    with pytest.raises(ValueError, match=r'at level 0.*got \(3, 4, 4\)'):
        neck((a[0], b))
    with pytest.raises(TypeError, match='built without tasks .* got streams of sal'):
        build(tasks=None, **FULL)(dict(sal=(a, b)))
