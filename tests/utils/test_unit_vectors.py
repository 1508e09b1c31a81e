"""torch.nn.functional.normalize without its norm."""

import pytest
import torch
import torch.nn.functional as F

from mtpeft.utils.unit_vectors import unit_vectors


def both(x, dim, grad):
    results = []
    for function in (unit_vectors, F.normalize):
        own = x.clone().requires_grad_()
        out = function(own, dim=dim)
        out.backward(grad)
        results.append((out.detach(), own.grad))
    return results


@pytest.mark.parametrize('shape, dim', [((2, 3, 5, 7), 1), ((4, 6), 1), ((3, 8), 0), ((5, 2), -1)])
@pytest.mark.parametrize('scale', [1e-20, 1e-13, 1e-6, 1.0, 1e6])
def test_it_is_the_librarys(shape, dim, scale):
    x = torch.randn(shape, dtype=torch.float64) * scale
    grad = torch.randn(shape, dtype=torch.float64)
    (out, found), (expected, wanted) = both(x, dim, grad)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_of_zeros_value_and_gradient_are_the_librarys():
    x = torch.randn(2, 3, 4, 4)
    x[:, :, 1] = 0
    (out, found), (expected, wanted) = both(x, 1, torch.randn_like(x))
    assert not out[:, :, 1].any() and torch.isfinite(found).all()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    x = torch.full((1, 3, 2, 2), 3e4, dtype=dtype)
    torch.testing.assert_close(unit_vectors(x), torch.full((1, 3, 2, 2), 3**-0.5))


def test_gradient():
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_vectors, x)
