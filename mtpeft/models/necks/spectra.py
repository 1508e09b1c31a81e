"""Spectra of features: the transforms, and where the frequencies of ``rfft2`` lie.

The radius of a frequency is ``sqrt(fy^2 + fx^2)``, clamped to 1, with fy and fx relative to the
Nyquist frequency (``2 fftfreq(H)`` and ``2 rfftfreq(W)``): 0 is the mean, 1 the finest ripple.
"""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

Size = tuple[int, int]


def to_spectrum(x: Tensor) -> Tensor:
    """Orthonormal half spectrum ``(B, C, H, W // 2 + 1)`` of ``x`` ``(B, C, H, W)``."""
    return torch.fft.rfft2(x, norm='ortho')


def to_pixels(spectrum: Tensor, size: Size) -> Tensor:
    """Inverse of :func:`to_spectrum`; the spectrum alone does not tell odd widths from even."""
    return torch.fft.irfft2(spectrum, s=size, norm='ortho')


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 where it is: half precision has no transform."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _cached(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last grids of ``make(size, device, option)``: outside modules, so none is saved.

    A grid made in inference mode could not be used in training later, and one made while a graph
    is traced would belong to that graph.
    """
    kept = lru_cache(maxsize=128)(torch.inference_mode(False)(make))

    @wraps(make)
    def get(size: Size, device: torch.device, option: int | torch.dtype) -> Tensor:
        chosen = make if torch.compiler.is_compiling() else kept
        return chosen(tuple(size), device, option)

    return get


@_cached
def radial_bins(size: Size, device: torch.device, bins: int) -> Tensor:
    """Bin ``min(floor(bins * radius), bins - 1)`` of each frequency, ``(H, W // 2 + 1)``.

    Example:
        >>> radial_bins((4, 4), torch.device('cpu'), 4)
        tensor([[0, 2, 3],
                [2, 2, 3],
                [3, 3, 3],
                [2, 2, 3]])
    """
    squared, one = _squared_radius(size, device)
    # the bin is the number of inner edges k / bins at or below the radius
    edges = torch.arange(1, bins, device=device).square() * one
    return (squared[..., None] * bins**2 >= edges).sum(-1)


@_cached
def low_band(size: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    """1 where the radius is at most .5, else 0, ``(H, W // 2 + 1)``."""
    squared, one = _squared_radius(size, device)
    return (4 * squared <= one).to(dtype)


@_cached
def high_band(size: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    """0 up to a radius of .8, rising evenly to 1 at a radius of 1, ``(H, W // 2 + 1)``."""
    squared, one = _squared_radius(size, device)
    return ((squared.to(dtype) / one).sqrt() * 5 - 4).clamp(0, 1)


def _squared_radius(size: Size, device: torch.device) -> tuple[Tensor, int]:
    """Squared radius as whole numbers, not clamped, and the whole number that stands for 1.

    Whole, so that a frequency on an edge falls on the same side on every device, compiled or not.
    """
    height, width = size
    rows = torch.arange(height, device=device)
    rows = torch.minimum(rows, height - rows)  # rfft2 does not shift: negative rows come last
    columns = torch.arange(width // 2 + 1, device=device)
    squared = 4 * ((rows * width).square()[:, None] + (columns * height).square())
    return squared, (height * width) ** 2
