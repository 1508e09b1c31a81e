"""The Gaussian low-pass of weights, in both of its forms."""

import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from mtpeft.adapters import lowpass
from mtpeft.adapters.lowpass import RADIUS, SIGMA, banded_smooth, shifted_smooth, smooth

SHAPES = [(2, 5, 7), (3, 64, 65), (2, 130, 3), (2, 1, 2), (2, 70, 6, 3, 3), (2, 9, 200, 1, 1)]
forms = pytest.mark.parametrize('form', [shifted_smooth, banded_smooth])
shapes = pytest.mark.parametrize('shape', SHAPES, ids=str)
dims = pytest.mark.parametrize('dim', [1, 2])


@forms
@shapes
@dims
def test_equals_scipy(form, shape, dim):
    x = torch.randn(shape, dtype=torch.float64)
    expected = gaussian_filter1d(x.numpy(), SIGMA, dim, mode='nearest', radius=RADIUS)
    torch.testing.assert_close(form(x, dim), torch.from_numpy(expected))


@shapes
@dims
def test_gradients_of_the_forms_agree(shape, dim):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    expected = torch.autograd.grad(shifted_smooth(x, dim), x, upstream)
    torch.testing.assert_close(torch.autograd.grad(banded_smooth(x, dim), x, upstream), expected)


@dims
def test_the_operator_keeps_to_the_rules(dim):
    x = torch.randn(2, 70, 5, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(banded_smooth, (x, dim, False))
    torch.library.opcheck(banded_smooth, (x.mT, dim, True))
    assert torch.autograd.gradgradcheck(lambda x: banded_smooth(x, dim).sin(), x[:, :9, :2].detach()
                                        .requires_grad_())  # fmt: skip


def test_large_weights_take_the_blocks(monkeypatch):
    seen = []
    monkeypatch.setattr(lowpass, 'banded_smooth', lambda x, dim: seen.append(x.numel()) or x)
    monkeypatch.setattr(lowpass, '_LARGE', 12)
    for size in (11, 12):
        smooth(torch.randn(1, size), 1)
    assert seen == [12]
