"""Gaussian low-pass along an axis of a stack of weights."""

import math
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

#: standard deviation and radius of the Gaussian, in entries: a kernel of 7
SIGMA, RADIUS = 1.0, 3

# Entries that one product of the banded matrix makes: 70 multiply-adds an entry instead of 7, but
# in one pass over memory.
_BLOCK = 64

# Entries from which that is faster.
_LARGE = 1_500_000


def gaussian(sigma: float = SIGMA, radius: int = RADIUS) -> list[float]:
    """Entries of a Gaussian of ``2 radius + 1`` taps that sum to 1."""
    kernel = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
    return [value / math.fsum(kernel) for value in kernel]


def smooth(x: Tensor, dim: int) -> Tensor:
    """Gaussian low-pass along an axis, its ends repeated: as scipy's with ``mode='nearest'``.

    A sum of shifted copies; of large weights on a CPU, which outgrow its caches, products with
    blocks of the banded matrix. Both are faster than a convolution of one channel
    (``docs/measure_lowpass.py``).
    """
    if x.device.type == 'cpu' and x.numel() >= _LARGE:
        return banded_smooth(x, dim)
    return shifted_smooth(x, dim)


def shifted_smooth(x: Tensor, dim: int) -> Tensor:
    """:func:`smooth` as a sum of shifted copies."""
    kernel, size = gaussian(), x.shape[dim]
    shape = [RADIUS if axis == dim else n for axis, n in enumerate(x.shape)]
    ends = x.narrow(dim, 0, 1), x.narrow(dim, size - 1, 1)
    padded = torch.cat([ends[0].expand(shape), x, ends[1].expand(shape)], dim)
    out = kernel[RADIUS] * x
    for i in range(RADIUS):
        pair = padded.narrow(dim, i, size) + padded.narrow(dim, 2 * RADIUS - i, size)
        out = torch.add(out, pair, alpha=kernel[i])
    return out


@torch.library.custom_op('mtpeft::banded_smooth', mutates_args=())
def banded_smooth(x: Tensor, dim: int, transposed: bool = False) -> Tensor:
    r""":func:`smooth` as products with blocks of its matrix.

    .. math:: y_i = \sum_j G_{ij} x_j, \qquad
              G_{ij} = \sum_{k=-3}^{3} g_k\, [\, j = \min(\max(i + k, 0), n - 1) \,]

    G is zero beyond three places from its diagonal, so 64 entries of y need 70 of x at most.

    Args:
        x: Any shape, not empty.
        dim: The axis.
        transposed: With :math:`G^T`, which is the gradient.
    """
    x = x.contiguous()
    out, size = torch.empty_like(x), x.shape[dim]
    outer, inner = math.prod(x.shape[:dim]), math.prod(x.shape[dim + 1 :])
    rows, into = (t.view(outer, size, inner) for t in (x, out))
    for start, end, low, high in _blocks(size):
        matrix = _band(end - start, start - low, high - end, transposed, x.dtype)
        if inner == 1:
            torch.mm(rows[:, low:high, 0], matrix.T, out=into[:, start:end, 0])
        elif outer <= inner:
            for one, one_into in zip(rows, into, strict=True):
                torch.mm(matrix, one[low:high], out=one_into[start:end])
        else:
            into[:, start:end] = torch.matmul(matrix, rows[:, low:high])
    return out


def _blocks(size: int) -> Iterator[tuple[int, int, int, int]]:
    """Start and end of the entries of each block, and of those that they are made of."""
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        yield start, end, max(start - RADIUS, 0), min(end + RADIUS, size)


@cache
def _band(n: int, before: int, after: int, transposed: bool, dtype: torch.dtype) -> Tensor:
    """Rows of G, or of its transpose, for n entries with so many used beside them at either end.

    Fewer than the radius is where the axis ends, and entries beyond are the last one.
    """
    kernel, matrix = gaussian(), [[0.0] * (before + n + after) for _ in range(n)]
    for i in range(-before, n + after):
        for k in range(-RADIUS, RADIUS + 1):
            row, column = i, min(max(i + k, -before), n + after - 1)
            if transposed:
                row, column = column, row
            if 0 <= row < n:
                matrix[row][column + before] += kernel[k + RADIUS]
    return torch.tensor(matrix, dtype=dtype)


@banded_smooth.register_fake
def _(x, dim, transposed=False):  # noqa: ANN001, ANN202
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _setup(ctx, inputs, output) -> None:  # noqa: ANN001
    _, ctx.dim, ctx.transposed = inputs


def _backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN001
    return banded_smooth(grad, ctx.dim, not ctx.transposed), None, None


banded_smooth.register_autograd(_backward, setup_context=_setup)
