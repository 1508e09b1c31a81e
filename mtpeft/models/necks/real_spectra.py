"""Spectra as real numbers, for runtimes that have neither complex numbers nor fast transforms."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor


@dataclass(frozen=True)
class RealSpectrum:
    r"""A half spectrum as real and imaginary part, made by products with matrices.

    .. math:: F = E_H\, x\, E_W, \qquad E_N[k, n] = N^{-1/2} e^{-2 \pi i k n / N}

    With k n modulo N as whole numbers, so that angles are exact for any N. Sums and products with
    real gains are written as of a complex tensor, which this stands for while a graph is exported.

    Attributes:
        real: Real part ``(..., H, W // 2 + 1)``.
        imag: Imaginary part.

    Example:
        >>> x = torch.rand(2, 5, 6)
        >>> spectrum = RealSpectrum.of(x)
        >>> torch.allclose(spectrum.real, torch.fft.rfft2(x, norm='ortho').real, atol=1e-6)
        True
        >>> torch.allclose(spectrum.pixels((5, 6)), x, atol=1e-6)
        True
    """

    real: Tensor
    imag: Tensor

    @classmethod
    def of(cls, x: Tensor) -> 'RealSpectrum':
        """The orthonormal half spectrum of ``(..., H, W)``."""
        height, width = x.shape[-2:]
        cos, sin = _waves(width, width // 2 + 1, x)
        real, imag = x @ cos, -(x @ sin)
        cos, sin = _waves(height, height, x)
        return cls(cos @ real + sin @ imag, cos @ imag - sin @ real)

    def pixels(self, size: tuple[int, int]) -> Tensor:
        """The picture ``(..., H, W)`` of the spectrum."""
        height, width = size
        cos, sin = _waves(height, height, self.real)
        real, imag = cos @ self.real - sin @ self.imag, cos @ self.imag + sin @ self.real
        cos, sin = _waves(width, width // 2 + 1, self.real)
        # columns that are not their own mirror image stand for two
        column = torch.arange(width // 2 + 1, device=cos.device)
        twice = torch.where((column == 0) | (2 * column == width), 1, 2).to(cos.dtype)
        return (real * twice) @ cos.mT - (imag * twice) @ sin.mT

    # -- as of a complex tensor ------------------------------------------------------------------

    def map(self, function: Callable[[Tensor], Tensor]) -> 'RealSpectrum':
        """A linear function of both parts."""
        return RealSpectrum(function(self.real), function(self.imag))

    def __mul__(self, gain: Tensor) -> 'RealSpectrum':
        return RealSpectrum(self.real * gain, self.imag * gain)

    __rmul__ = __mul__

    def __add__(self, other: Union[Tensor, 'RealSpectrum']) -> 'RealSpectrum':
        if isinstance(other, RealSpectrum):
            return RealSpectrum(self.real + other.real, self.imag + other.imag)
        return RealSpectrum(self.real + other, self.imag)

    def abs(self) -> Tensor:
        """Amplitudes."""
        return (self.real.square() + self.imag.square()).sqrt()

    def with_amplitude(self, amplitude: Tensor) -> 'RealSpectrum':
        """Another amplitude with the phase of this one; 0 where there is none."""
        own = self.abs()
        known = own > torch.finfo(own.dtype).eps
        inverse = torch.where(known, own, 1).reciprocal()
        real = torch.where(known, self.real * inverse, 1)
        imag = torch.where(known, self.imag * inverse, 0)
        return RealSpectrum(amplitude * real, amplitude * imag)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.real.device

    @property
    def shape(self) -> torch.Size:
        """Shape of each part."""
        return self.real.shape


def _waves(length: int, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``(length, count)`` of the first ``count`` frequencies."""
    place = torch.arange(length, device=like.device)[:, None]
    turns = (place * torch.arange(count, device=like.device)) % length
    angle = turns.double() * (2 * math.pi / length)
    scale = length**-0.5
    return (angle.cos() * scale).to(like.dtype), (angle.sin() * scale).to(like.dtype)
