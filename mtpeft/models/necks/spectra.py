"""Spectra of features: the transforms, and where the frequencies of ``rfft2`` lie.

The radius of a frequency is ``sqrt(fy^2 + fx^2)``, clamped to 1, with fy and fx relative to the
Nyquist frequency (``2 fftfreq(H)`` and ``2 rfftfreq(W)``): 0 is the mean, 1 the finest ripple.

With ``rows='shifted'``, the rows of a spectrum are read as if ``fftshift`` had brought the mean to
their middle, as the code released with FAAR does: fy is ``linspace(-1, 1, H)``, fx ``linspace(0, 1,
W // 2 + 1)``. There the mean and all that varies slowly from top to bottom have a radius near 1.
"""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

from mtpeft.models.necks.real_spectra import RealSpectrum
from mtpeft.utils.exporting import exported

Size = tuple[int, int]
ROWS = ('fft', 'shifted')


def to_spectrum(x: Tensor) -> Tensor | RealSpectrum:
    """Orthonormal half spectrum ``(B, C, H, W // 2 + 1)`` of ``x`` ``(B, C, H, W)``.

    A graph for other runtimes gets real and imaginary part, by products with matrices.
    """
    return RealSpectrum.of(x) if exported() else torch.fft.rfft2(x, norm='ortho')


def to_pixels(spectrum: Tensor | RealSpectrum, size: Size) -> Tensor:
    """Inverse of :func:`to_spectrum`; the spectrum alone does not tell odd widths from even."""
    if isinstance(spectrum, RealSpectrum):
        return spectrum.pixels(size)
    return torch.fft.irfft2(spectrum, s=size, norm='ortho')


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 where it is: half precision has no transform."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _cached(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the last grids of ``make(size, device, option, rows)``: outside modules, so unsaved.

    A grid made in inference mode could not be used in training later, and one made while a graph
    is traced would belong to that graph.
    """
    kept = lru_cache(maxsize=128)(torch.inference_mode(False)(make))

    @wraps(make)
    def get(
        size: Size, device: torch.device, option: int | torch.dtype, rows: str = 'fft'
    ) -> Tensor:
        chosen = make if torch.compiler.is_compiling() else kept
        return chosen(tuple(size), device, option, rows)

    return get


@_cached
def radial_bins(size: Size, device: torch.device, bins: int, rows: str = 'fft') -> Tensor:
    """Bin ``min(floor(bins * radius), bins - 1)`` of each frequency, ``(H, W // 2 + 1)``.

    A radius on the edge of two bins is of the outer one; of the inner one where rows are
    ``'shifted'``, as in the released code.

    Example:
        >>> radial_bins((4, 4), torch.device('cpu'), 4)
        tensor([[0, 2, 3],
                [2, 2, 3],
                [3, 3, 3],
                [2, 2, 3]])
    """
    squared, one = _squared_radius(size, device, rows)
    # the bin is the number of inner edges k / bins at or below the radius
    edges = torch.arange(1, bins, device=device).square() * one
    scaled = squared[..., None] * bins**2
    return (scaled > edges if rows == 'shifted' else scaled >= edges).sum(-1)


@_cached
def low_band(size: Size, device: torch.device, dtype: torch.dtype, rows: str = 'fft') -> Tensor:
    """1 where the radius is at most .5, else 0, ``(H, W // 2 + 1)``."""
    squared, one = _squared_radius(size, device, rows)
    return mirrored((4 * squared <= one).to(dtype), size[1])


@_cached
def high_band(size: Size, device: torch.device, dtype: torch.dtype, rows: str = 'fft') -> Tensor:
    """0 up to a radius of .8, rising evenly to 1 at a radius of 1, ``(H, W // 2 + 1)``."""
    squared, one = _squared_radius(size, device, rows)
    return mirrored(((squared.to(dtype) / one).sqrt() * 5 - 4).clamp(0, 1), size[1])


def _squared_radius(size: Size, device: torch.device, rows: str) -> tuple[Tensor, int]:
    """Squared radius as whole numbers, not clamped, and the whole number that stands for 1.

    Whole, so that a frequency on an edge falls on the same side on every device, compiled or not.
    """
    height, width = size
    y, x = torch.arange(height, device=device), torch.arange(width // 2 + 1, device=device)
    if rows == 'shifted':
        y, x = 2 * y - (height - 1), x
        below, beside = max(height - 1, 1), max(width // 2, 1)
    else:
        y, x = 2 * torch.minimum(y, height - y), 2 * x  # negative rows come last
        below, beside = height, width
    squared = (y * beside).square()[:, None] + (x * below).square()
    return squared, (below * beside) ** 2


def mirrored(gain: Tensor, width: int) -> Tensor:
    """A gain ``(..., H, W // 2 + 1)``, symmetric in columns that are their own mirror image.

    There a row and its negative are conjugates. Different weights would make a spectrum of no
    real picture, from which every FFT library makes something else.
    """
    columns = torch.arange(gain.shape[-1], device=gain.device)
    own_mirror = (columns == 0) | (2 * columns == width)
    return torch.where(own_mirror, (gain + gain.flip(-2).roll(1, -2)) / 2, gain)
