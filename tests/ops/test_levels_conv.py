"""A 1x1 convolution of levels, in the order that is cheaper."""

import pytest
import torch
import torch.nn.functional as F

from mtpeft.ops import levels_conv
from mtpeft.ops.levels_conv import convolve_levels
from mtpeft.structures.levels import concatenate

WIDTHS = (3, 4, 5, 6)
SIZES = {
    'pyramid': ((8, 12), (4, 6), (2, 3), (2, 3)),
    'odd': ((7, 9), (4, 5), (2, 3), (1, 2)),
    'largest is not first': ((2, 3), (4, 6), (8, 12), (4, 6)),
    'two largest': ((8, 12), (8, 12), (4, 6), (2, 3)),
    'as many places, other sides': ((6, 4), (4, 6), (2, 3), (2, 2)),
    'one size': ((4, 6),) * 4,
}


def levels_of(sizes, dtype=torch.float64):
    pairs = zip(WIDTHS, sizes, strict=True)
    return [torch.randn(2, c, *s, dtype=dtype, requires_grad=True) for c, s in pairs]


def kernel(out=32, bias=True, dtype=torch.float64):
    weight = torch.randn(out, sum(WIDTHS), 1, 1, dtype=dtype, requires_grad=True)
    return weight, torch.randn(out, dtype=dtype, requires_grad=True) if bias else None


@pytest.mark.parametrize('bias', [True, False], ids=['bias', 'no bias'])
@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
def test_equals_upsampling_first_with_gradients(sizes, bias, monkeypatch):
    monkeypatch.setattr(levels_conv, '_cheaper_apart', lambda *_: len(set(sizes)) > 1)
    levels, (weight, b) = levels_of(sizes), kernel(bias=bias)
    inputs = [*levels, weight, *([b] if bias else [])]
    plain = F.conv2d(concatenate(levels, WIDTHS), weight, b)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, upstream)
    out = convolve_levels(levels, WIDTHS, weight, b)
    torch.testing.assert_close(out, plain)
    for got, want in zip(torch.autograd.grad(out, inputs, upstream), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_takes_the_order_with_less_work(monkeypatch):
    seen = []
    monkeypatch.setattr(
        levels_conv, 'concatenate', lambda *args: seen.append(args) or concatenate(*args)
    )
    weight, bias = kernel()
    convolve_levels(levels_of(SIZES['one size']), WIDTHS, weight, bias)
    assert len(seen) == 1
    pyramid = ((56, 56), (28, 28), (14, 14), (14, 14))
    wide = [torch.zeros(1, c, *s) for c, s in zip((18, 36, 72, 144), pyramid, strict=True)]
    convolve_levels(wide, (18, 36, 72, 144), torch.zeros(64, 270, 1, 1), None)
    assert len(seen) == 1
    # narrow levels: upsampling their outputs costs more than it saves
    thin = [torch.zeros(1, 1, *s) for s in pyramid]
    convolve_levels(thin, (1, 1, 1, 1), torch.zeros(64, 4, 1, 1), None)
    assert len(seen) == 2


def test_autocast_keeps_the_plain_order_and_its_type():
    levels, (weight, bias) = levels_of(SIZES['pyramid'], torch.float32), kernel(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = convolve_levels(levels, WIDTHS, weight, bias)
        assert out.dtype == torch.bfloat16
        assert torch.equal(out, F.conv2d(concatenate(levels, WIDTHS), weight, bias))


def test_a_wrong_number_of_levels_is_refused():
    levels, (weight, bias) = levels_of(SIZES['pyramid']), kernel()
    with pytest.raises(ValueError, match='Expected 4 levels'):
        convolve_levels(levels[:3], WIDTHS, weight, bias)


def test_whatever_layout_convolutions_choose(monkeypatch):
    sizes, convolve = SIZES['pyramid'], F.conv2d
    levels, (weight, bias) = levels_of(sizes), kernel()
    inputs = [*levels, weight, bias]
    plain = F.conv2d(concatenate(levels, WIDTHS), weight, bias)
    upstream = torch.randn_like(plain)
    expected = torch.autograd.grad(plain, inputs, upstream)
    last = torch.channels_last
    monkeypatch.setattr(F, 'conv2d', lambda *args: convolve(*args).contiguous(memory_format=last))
    monkeypatch.setattr(levels_conv, '_cheaper_apart', lambda *_: True)
    out = convolve_levels(levels, WIDTHS, weight, bias)
    torch.testing.assert_close(out, plain)
    for got, want in zip(torch.autograd.grad(out, inputs, upstream), expected, strict=True):
        torch.testing.assert_close(got, want)
