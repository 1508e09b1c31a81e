"""One level's spectral filter: a gain a radial band, or one a frequency."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.models.necks.spectra import (
    Size,
    full_precision,
    mirrored,
    radial_bins,
    to_pixels,
    to_spectrum,
)  # fmt: skip


class SpectralFilter(nn.Module):
    """``x + alpha (scale y + shift)`` with y = x, its spectrum multiplied by the gain.

    Args:
        shape: Shape of delta; channels come last or first, as the gain wants them.
        channels: Width of the level.
        alpha: Start of alpha.
        std: Standard deviation of delta at the start.
        affine_std: That of scale and shift about 1 and 0.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: int,
        alpha: float,
        std: float,
        affine_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.randn(shape) * std)
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        if affine_std:
            nn.init.normal_(self.scale, 1, affine_std)
            nn.init.normal_(self.shift, 0, affine_std)
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def gain(self, size: Size) -> Tensor:
        """``1 + delta`` at the frequencies of pictures of ``size``, ``(C, H, W // 2 + 1)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``x`` ``(B, C, H, W)``."""
        size = x.shape[-2:]
        y = to_pixels(to_spectrum(x) * self.gain(size), size)
        return x + self.alpha * (y * self.scale[:, None, None] + self.shift[:, None, None])

    def on_spectrum(self, spectrum: Tensor, size: Size) -> Tensor:
        """The spectrum of ``forward(x)`` from that of ``x``, without going to pixels and back."""
        height, width = size
        y = spectrum * (self.gain(size) * self.scale[:, None, None])
        # a shift of every pixel is one of the mean, which the transform multiplies by sqrt(H W)
        mean = F.pad(self.shift[:, None, None], (0, width // 2, 0, height - 1))
        return spectrum + self.alpha * (y + math.sqrt(height * width) * mean)


def filtered_pixels(filters: Sequence[SpectralFilter], x: Tensor) -> Tensor:
    """``forward`` of each filter on its row of ``x`` ``(T, B, C, H, W)``, in one transform."""
    size = x.shape[-2:]
    gain, alpha, shift = _stacked(filters, size)
    y = to_pixels(to_spectrum(x) * gain, size)
    return x + alpha * (y + shift)


def filtered_spectra(filters: Sequence[SpectralFilter], spectra: Tensor, size: Size) -> Tensor:
    """``on_spectrum`` of each filter on its row of ``spectra`` ``(T, B, C, H, W // 2 + 1)``."""
    height, width = size
    gain, alpha, shift = _stacked(filters, size)
    mean = F.pad(math.sqrt(height * width) * alpha * shift, (0, width // 2, 0, height - 1))
    return spectra * (1 + alpha * gain) + mean


def _stacked(filters: Sequence[SpectralFilter], size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Gain times scale, alpha and shift of all filters, to be used on ``(T, B, C, H, W)``."""
    gain = torch.stack([f.gain(size) * f.scale[:, None, None] for f in filters])
    alpha = torch.stack([f.alpha for f in filters])
    shift = torch.stack([f.shift for f in filters])
    return gain[:, None], alpha.view(-1, 1, 1, 1, 1), shift[:, None, :, None, None]


class RadialFilter(SpectralFilter):
    """One weight a radial bin and channel, delta ``(bins, C)``."""

    def __init__(
        self,
        channels: int,
        bins: int,
        alpha: float,
        std: float,
        affine_std: float = 0.0,
        rows: str = 'fft',
    ) -> None:
        super().__init__((bins, channels), channels, alpha, std, affine_std)
        self.rows = rows

    def gain(self, size: Size) -> Tensor:
        height, width = size
        gain = 1 + full_precision(self.delta)
        bins = radial_bins(size, gain.device, len(gain), self.rows)
        gain = gain.t().index_select(1, bins.flatten()).view(-1, height, width // 2 + 1)
        return gain if self.rows == 'fft' else mirrored(gain, width)


class FullFilter(SpectralFilter):
    """One weight a frequency and channel, delta ``(C, h, w // 2 + 1)`` at the base size (h, w)."""

    def __init__(
        self,
        channels: int,
        base_size: Size,
        alpha: float,
        std: float,
        affine_std: float = 0.0,
    ) -> None:
        height, width = base_size
        super().__init__((channels, height, width // 2 + 1), channels, alpha, std, affine_std)
        self.base_size = base_size

    def gain(self, size: Size) -> Tensor:
        gain = 1 + full_precision(self.delta)
        if tuple(size) != self.base_size:
            gain = _resampled(gain, self.base_size, size)
        return mirrored(gain, size[1])


def _resampled(gain: Tensor, base: Size, size: Size) -> Tensor:
    """Linear interpolation at the same share of the Nyquist frequency.

    Rows are in the order of fft, 0 to the Nyquist frequency and on from its negative to 0. As the
    spectrum of samples is periodic, they are read as a ring, and no neighbours are torn apart.
    """
    (low, high, share), last = _neighbours(base[0], size[0], size[0], gain), base[1] // 2
    gain = torch.lerp(gain[:, low], gain[:, high % base[0]], share[:, None])
    low, high, share = _neighbours(base[1], size[1], size[1] // 2 + 1, gain)
    return torch.lerp(gain[..., low.clamp(max=last)], gain[..., high.clamp(max=last)], share)


def _neighbours(base: int, side: int, count: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions ``i base / side`` for i < count: the index below, that above, the share of it."""
    position = torch.arange(count, device=like.device) * base
    low = position.div(side, rounding_mode='floor')
    return low, low + 1, (position % side).to(like.dtype) / side
