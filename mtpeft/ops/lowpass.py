"""Gaussian low-pass along an axis of a stack of weights."""

import math

import torch
from torch import Tensor

#: standard deviation and radius of the Gaussian, in entries: a kernel of 7
SIGMA, RADIUS = 1.0, 3


def gaussian(sigma: float = SIGMA, radius: int = RADIUS) -> list[float]:
    """Entries of a Gaussian of ``2 radius + 1`` taps that sum to 1."""
    kernel = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
    return [value / math.fsum(kernel) for value in kernel]


def smooth(x: Tensor, dim: int) -> Tensor:
    """Gaussian low-pass along an axis, its ends repeated: as scipy's with ``mode='nearest'``.

    A sum of shifted copies, which is faster than a convolution of one channel
    (``docs/measure_lowpass.py``).
    """
    kernel, size = gaussian(), x.shape[dim]
    shape = [RADIUS if axis == dim else n for axis, n in enumerate(x.shape)]
    ends = x.narrow(dim, 0, 1), x.narrow(dim, size - 1, 1)
    padded = torch.cat([ends[0].expand(shape), x, ends[1].expand(shape)], dim)
    out = kernel[RADIUS] * x
    for i in range(RADIUS):
        pair = padded.narrow(dim, i, size) + padded.narrow(dim, 2 * RADIUS - i, size)
        out = torch.add(out, pair, alpha=kernel[i])
    return out
