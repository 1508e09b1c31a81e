"""Spectra of real numbers beside those of torch.fft."""

import pytest
import torch

from mtpeft.models import TSPD
from mtpeft.models.necks import spectra
from mtpeft.models.necks.real_spectra import RealSpectrum

SIZES = [(1, 1), (5, 4), (7, 7), (8, 6), (14, 9), (3, 32), (56, 56)]


@pytest.mark.parametrize('size', SIZES)
def test_transform_and_inverse(size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    wanted, found = torch.fft.rfft2(x, norm='ortho'), RealSpectrum.of(x)
    torch.testing.assert_close(found.real, wanted.real, rtol=0, atol=2e-6)
    torch.testing.assert_close(found.imag, wanted.imag, rtol=0, atol=2e-6)
    torch.testing.assert_close(found.pixels(size), x, rtol=0, atol=2e-6)
    # a spectrum of no real picture: what the transform makes of its mirror images is the same
    odd = wanted * torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    made = RealSpectrum(odd.real, odd.imag).pixels(size)
    torch.testing.assert_close(
        made, torch.fft.irfft2(odd, s=size, norm='ortho'), rtol=0, atol=5e-6
    )  # fmt: skip


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(xt_cons=None),
        dict(cw_sp=None),
        dict(
            cw_sp=dict(filter='radial', rows='shifted'),
            xt_cons=dict(low='amplitude', caps=(0.5, 0.3), rows='shifted'),
        ),
    ],
    ids=['FAAR', 'filters', 'consensus', 'released'],
)
def test_the_neck_with_real_numbers(options, monkeypatch):
    torch.manual_seed(0)
    sizes = ((8, 12), (5, 7))
    neck = TSPD((3, 4), tasks=['sal', 'depth', 'edge'], base_sizes=sizes, **options)
    for parameter in neck.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = {t: tuple(torch.randn(2, c, *s) for c, s in zip((3, 4), sizes, strict=True))
         for t in neck.streams}  # fmt: skip
    with torch.no_grad():
        wanted = neck(x)
        monkeypatch.setattr(spectra, 'exported', lambda: True)
        found = neck(x)
    for name, levels in wanted.items():
        for a, b in zip(found[name], levels, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
