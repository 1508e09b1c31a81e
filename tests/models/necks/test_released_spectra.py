"""TS-PD with the choices of the code that was released with FAAR, against that formula.

Radii are those of rows from -1 to 1, as if the spectrum were shifted; transforms are NumPy's.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.spectral_oracle import SIZES, array, shake

from mtpeft.models.necks.spectra import high_band, low_band, radial_bins
from mtpeft.registry import MODELS

CPU = torch.device('cpu')
TASKS = ('semseg', 'sal', 'depth')
CW_SP = dict(filter='radial', affine_std=0.02, rows='shifted')
XT_CONS = dict(low='amplitude', caps=(0.5, 0.3), rows='shifted')
# one row has no -1 and 1 to lie between
TALL = [size for size in SIZES if size[0] > 1]


def squared_radii(size):
    """Squared radii over ``rfft2``, at most 1, as fractions."""
    height, width = size
    rows = [Fraction(2 * i, height - 1) - 1 for i in range(height)]
    half = width // 2
    columns = [Fraction(j, half) if half else Fraction(0) for j in range(half + 1)]
    return [[min(y * y + x * x, Fraction(1)) for x in columns] for y in rows]


def bins(size, count):
    """The number of inner edges k / count that lie below a radius."""
    edges = [Fraction(k * k, count * count) for k in range(1, count)]
    return np.array([[sum(q > e for e in edges) for q in row] for row in squared_radii(size)])


def bands(size):
    radius = np.array([[float(q) ** 0.5 for q in row] for row in squared_radii(size)])
    low = np.array([[float(4 * q <= 1) for q in row] for row in squared_radii(size)])
    return low, np.clip((radius - 0.8) / 0.2, 0, 1) * (1 - low)


def spectrum(x):
    return np.fft.rfft2(x, norm='ortho')


def pixels(spectrum, size):
    return np.fft.irfft2(spectrum, s=size, norm='ortho')


@pytest.mark.parametrize('size', [*TALL, (56, 56), (24, 24)], ids=str)
def test_bins_and_bands(size):
    np.testing.assert_array_equal(radial_bins(size, CPU, 16, 'shifted').numpy(), bins(size, 16))
    for found, wanted in zip((low_band, high_band), bands(size), strict=True):
        # a spectrum of a real picture: columns that mirror themselves count half from each side
        mean = (wanted + np.roll(wanted[::-1], 1, 0)) / 2
        for column in {0, size[1] / 2} & set(range(wanted.shape[1])):
            wanted[:, int(column)] = mean[:, int(column)]
        got = found(size, CPU, torch.float64, 'shifted').numpy()
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_the_low_band_misses_the_mean():
    for size in [(8, 8), (56, 56), (24, 24)]:
        assert low_band(size, CPU, torch.float32, 'shifted')[0, 0] == 0
        assert low_band(size, CPU, torch.float32)[0, 0] == 1
        assert radial_bins(size, CPU, 16, 'shifted')[0, 0] == 15


def filtered(x, f):
    size = x.shape[-2:]
    gain = 1 + array(f.delta)[bins(size, len(f.delta))].transpose(2, 0, 1)
    y = pixels(spectrum(x) * gain, size)
    y = y * array(f.scale)[:, None, None] + array(f.shift)[:, None, None]
    return x + array(f.alpha) * y


def released(x, others, f, b):
    """One level of one task: its filter, then the shares of the others' mean."""
    size = x.shape[-2:]
    low, high = bands(size)
    own, mean = spectrum(filtered(x, f)), np.mean([spectrum(o) for o in others], 0)
    s_low, s_high = (c / (1 + np.exp(-float(a))) for c, a in
                     zip((0.5, 0.3), (b.alpha_low, b.alpha_high), strict=True))  # fmt: skip
    amplitude = abs(own) + s_low * (float(b.g_low) * abs(mean) - abs(own))
    moved = (1 - low) * own + low * amplitude * np.exp(1j * np.angle(own))
    return pixels(moved + s_high * high * (float(b.g_high) * mean - own), size)


@pytest.mark.parametrize('size', [s for s in TALL if s[1] > 1], ids=str)
def test_ts_pd(size):
    neck = MODELS.build(
        dict(type='TSPD', in_channels=(3, 4), tasks=TASKS, cw_sp=CW_SP, xt_cons=XT_CONS)
    )
    neck = shake(neck).double()
    x = {t: (torch.randn(2, 3, *size).double(), torch.randn(2, 4, *size).double()) for t in TASKS}
    out = neck(x)
    for task in TASKS:
        for i in range(2):
            others = [array(x[t][i]) for t in TASKS if t != task]
            f, b = neck.cw_sp.filters[task][i], neck.xt_cons.bands[task][i]
            wanted = released(array(x[task][i]), others, f, b)
            np.testing.assert_allclose(array(out[task][i]), wanted, atol=1e-9)


def test_capped_shares_start_at_half_their_cap_and_never_pass_it():
    neck = MODELS.build(
        dict(type='CrossTaskConsensus', in_channels=(1,), tasks=TASKS[:2], caps=(0.5, 0.3))
    )
    flat = {t: (torch.full((1, 1, 6, 6), v),) for t, v in zip(TASKS, (2.0, 10.0), strict=False)}
    share = (neck(flat)['semseg'][0].mean() - 2) / 8
    torch.testing.assert_close(share, torch.tensor(0.25))
    with torch.no_grad():
        neck.bands['semseg'][0].alpha_low.fill_(50)
    torch.testing.assert_close((neck(flat)['semseg'][0].mean() - 2) / 8, torch.tensor(0.5))


def test_scale_and_shift_start_with_noise():
    torch.manual_seed(0)
    neck = MODELS.build(
        dict(type='ChannelwiseSpectralFilter', in_channels=(4000,), tasks=None, **CW_SP)
    )
    f = neck.filters['shared'][0]
    for values, centre in ((f.scale, 1), (f.shift, 0)):
        assert abs(values.mean() - centre) < 2e-3 and abs(values.std() - 0.02) < 2e-3


def test_upsampled_levels_share_one_grid():
    """Levels of strides 8, 16, 32, 32 are brought to stride 8 before their filters."""
    scales = dict(type='RescaleNeck', in_channels=(2,) * 4, tasks=TASKS, scales=(1, 2, 4, 4))
    levels = [torch.randn(1, 2, side, side) for side in (8, 4, 2, 2)]
    out = MODELS.build(scales)(tuple(levels))['sal']
    for x, y in zip(levels, out, strict=True):
        wanted = torch.nn.functional.interpolate(x, (8, 8), mode='bilinear', align_corners=False)
        torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize(('kind', 'options', 'match'), [
    ('ChannelwiseSpectralFilter', dict(filter='radial', rows='shift'), "rows='shift' is unknown"),
    ('ChannelwiseSpectralFilter', dict(rows='shifted', base_sizes=((4, 4),)), "filter='radial'"),
    ('ChannelwiseSpectralFilter', dict(filter='radial', affine_std=-1), '`affine_std`'),
    ('CrossTaskConsensus', dict(rows='shift'), "rows='shift' is unknown.*shifted"),
    ('CrossTaskConsensus', dict(caps=(0.5, 0)), '`caps`'),
    ('CrossTaskConsensus', dict(caps=(0.5,)), '`caps`'),
])  # fmt: skip
def test_bad_options(kind, options, match):
    with pytest.raises(ValueError, match=match):
        MODELS.build(dict(type=kind, in_channels=(2,), tasks=TASKS, **options))
