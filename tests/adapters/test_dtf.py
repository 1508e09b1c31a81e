"""The dynamic task filter against loops over samples, channels and places."""

import pytest
import torch
from helpers.tadformer_oracle import kernels
from torch import nn

from mtpeft.adapters import dtf
from mtpeft.adapters.dtf import DynamicTaskFilter, depthwise


def by_loops(filter, z):
    """out[i, y, x] = sum over dy, dx of k[i, dy, dx] z[i, y + dy - 1, x + dx - 1], one sample."""
    rank, height, width = z.shape
    k, out = kernels(filter, z), torch.zeros_like(z)
    for i in range(rank):
        for y in range(height):
            for x in range(width):
                for dy in range(3):
                    for dx in range(3):
                        row, column = y + dy - 1, x + dx - 1
                        if 0 <= row < height and 0 <= column < width:
                            out[i, y, x] += k[i, dy, dx] * z[i, row, column]
    return out


def test_every_sample_has_its_own_filter():
    filter = DynamicTaskFilter(3).double()
    z = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([by_loops(filter, one) for one in z.flatten(0, 1)])
        torch.testing.assert_close(filter(z).flatten(0, 1), expected)
        # a sample does not see the others
        torch.testing.assert_close(filter(z[:1, :1]), filter(z)[:1, :1])


def test_depthwise_is_a_grouped_convolution():
    z, kernel = torch.randn(5, 4, 6, 3), torch.randn(4, 3, 3)
    expected = nn.functional.conv2d(z, kernel[:, None], padding=1, groups=4)
    torch.testing.assert_close(depthwise(z, kernel), expected, rtol=1e-5, atol=1e-5)


def test_the_start():
    filter = DynamicTaskFilter(64)
    assert filter.weight.shape == (576, 64) and filter.bias.shape == (576,)
    for parameter in (filter.weight, filter.bias):  # uniform in +-1/8
        assert parameter.abs().max() <= 1 / 8
        assert abs(parameter.std() - 0.125 / 3**0.5) < 0.01
    # 576 draws: three standard errors of a deviation are 9 %, of a mean .125
    assert abs(filter.std.std() / (2**0.5 / 3) - 1) < 0.12 and abs(filter.std.mean()) < 0.08
    assert abs(filter.mean.std() - 1) < 0.12 and abs(filter.mean.mean()) < 0.15


def test_gradients_equal_finite_differences():
    filter = DynamicTaskFilter(2).double()
    z = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in filter.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in filter.parameters()]

    def run(z, *values):
        return torch.func.functional_call(filter, dict(zip(names, values, strict=True)), z)

    assert torch.autograd.gradcheck(run, (z, *values))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_equal_entries_and_low_precision_stay_finite(dtype):
    """A channel whose nine entries are equal has deviation 0, and 1e-10 is 0 in float16."""
    filter = DynamicTaskFilter(4)
    with torch.no_grad():
        filter.weight.zero_()
        filter.bias.fill_(0.25)  # whose mean of nine is exact
    z = torch.randn(2, 4, 7, 7).to(dtype).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = filter(z)
    assert out.dtype == dtype
    out.float().square().mean().backward()
    assert torch.isfinite(out).all() and torch.isfinite(z.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in filter.parameters())
    mean = filter.mean.view(4, 3, 3).to(dtype)  # (c - mean) / (0 + 1e-10) is 0
    torch.testing.assert_close(out, depthwise(z, mean))


def test_precision_of_kernels_under_autocast():
    filter = DynamicTaskFilter(8)
    z = torch.randn(3, 8, 7, 7)
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(filter.kernels(z), filter.kernels(z.clone()))
        inside = filter.kernels(z)
    with torch.no_grad():
        torch.testing.assert_close(inside, filter.kernels(z), rtol=0, atol=0)


def test_a_graph_for_other_runtimes_filters_by_taps(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 4, 5, 6, generator=generator)
    for kernel in (
        torch.randn(2, 3, 4, 3, 3, generator=generator), torch.randn(4, 3, 3, generator=generator),
    ):  # fmt: skip
        wanted = depthwise(z, kernel)
        with monkeypatch.context() as patched:
            patched.setattr(dtf, 'exported', lambda: True)
            torch.testing.assert_close(depthwise(z, kernel), wanted)
