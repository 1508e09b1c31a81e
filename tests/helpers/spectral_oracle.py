"""TS-PD once more: whole spectra of NumPy, and radii as exact fractions in plain loops."""

from fractions import Fraction
from math import isqrt

import numpy as np

#: Sizes with even, odd, single and prime sides, and the right angle 3-4-5 (radius exactly .5).
SIZES = [(8, 8), (7, 5), (6, 9), (1, 1), (1, 6), (5, 1), (2, 2), (13, 4), (20, 20)]


def squared_radii(size):
    """Squared radius of each frequency of ``fft2``, not clamped, as fractions."""
    height, width = size
    out = np.empty(size, object)
    for i in range(height):
        for j in range(width):
            fy = Fraction(2 * (i if 2 * i < height else i - height), height)
            fx = Fraction(2 * (j if 2 * j < width else j - width), width)
            out[i, j] = fy * fy + fx * fx
    return out


def bins(size, count):
    """Radial bin of each frequency of ``fft2``."""
    squared = squared_radii(size)
    floors = [[isqrt(int(q * count * count)) for q in row] for row in squared]
    return np.minimum(np.array(floors).reshape(size), count - 1)


def masks(size):
    """Low and high band over ``fft2``."""
    squared = squared_radii(size)
    low = np.array([[1.0 if 4 * q <= 1 else 0.0 for q in row] for row in squared])
    radius = np.array([[min(1.0, float(q) ** 0.5) for q in row] for row in squared])
    return low.reshape(size), np.clip((radius.reshape(size) - 0.8) / 0.2, 0, 1)


def fft(x):
    return np.fft.fft2(x, norm='ortho')


def ifft(spectrum):
    return np.fft.ifft2(spectrum, norm='ortho').real


def array(x):
    return x.detach().double().numpy()


def filtered(x, f, gain):
    """CW-SP of ``x`` with the gain over ``fft2`` and the other parameters of module ``f``."""
    y = ifft(fft(x) * gain) * array(f.scale)[:, None, None] + array(f.shift)[:, None, None]
    return x + array(f.alpha) * y


def whole(delta, size):
    """Gain over ``fft2`` of a filter with a weight a frequency of ``rfft2``, at its own size."""
    height, width = size
    gain = np.empty((len(delta), height, width))
    for i in range(height):
        for j in range(width):
            # a real picture: frequencies and their negatives are conjugates
            row, column = (i, j) if j <= width // 2 else (-i % height, width - j)
            gain[:, i, j] = 1 + delta[:, row, column]
    return gain


def cw_sp(x, f):
    """CW-SP of ``x`` with the parameters of module ``f``, a full filter of the size of ``x``."""
    delta = array(f.delta)
    if delta.ndim == 3:
        return filtered(x, f, whole(delta, x.shape[-2:]))
    where = bins(x.shape[-2:], len(delta))
    return filtered(x, f, np.stack([1 + delta[where, c] for c in range(delta.shape[1])]))


def xt_cons(x, others, scalars, low='complex'):
    """XT-Cons of ``x`` with the features of other tasks, ``scalars`` a module of four."""
    own, mean = fft(x), np.mean([fft(other) for other in others], 0)
    m_low, m_high = masks(x.shape[-2:])
    if low == 'complex':
        delta_low = float(scalars.g_low) * mean - own
    else:
        moved = float(scalars.g_low) * abs(mean) - abs(own)
        delta_low = moved * np.exp(1j * np.angle(own))
    delta_high = float(scalars.g_high) * mean - own
    return ifft(
        own
        + float(scalars.alpha_low) * m_low * delta_low
        + float(scalars.alpha_high) * m_high * delta_high
    )


def shake(module, seed=0):
    """Move every parameter away from its start."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.4 * torch.randn(p.shape, generator=generator).to(p)
    return module
