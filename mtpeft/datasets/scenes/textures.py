"""Materials: colours of disjoint palettes and two-colour patterns of disjoint families.

Texture set ``'a'`` and texture set ``'b'`` share neither a pattern nor a hue: the hue circle is
cut into twelve sectors which go to the sets in turn. Unpatterned (``'plain'``) surfaces occur in
both sets, each with its own hues. A pattern maps surface coordinates in metres to a share of the
second colour.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SECTORS = 12
_F = np.float32
Noise = np.ndarray


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Args:
        color: RGB in [0, 1].
        second: The pattern's other RGB colour.
        pattern: A name of :data:`PATTERNS` or ``'plain'``.
        scale: Size of the pattern's element in metres.
        angle: Turn of the pattern in radians.
        grain: Amplitude of a fine brightness noise.
        specular: Strength of the highlight.
    """

    color: tuple[float, float, float]
    second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pattern: str = 'plain'
    scale: float = 0.3
    angle: float = 0.0
    grain: float = 0.0
    specular: float = 0.0


def value_noise(u: np.ndarray, v: np.ndarray, table: Noise) -> np.ndarray:
    """Smooth noise in [0, 1]: bilinear look-up in a table that repeats."""
    size = table.shape[0]
    fu, fv = np.floor(u), np.floor(v)
    i, j = fu.astype(np.int32) % size, fv.astype(np.int32) % size
    du, dv = u - fu, v - fv
    du, dv = du * du * (3 - 2 * du), dv * dv * (3 - 2 * dv)
    i1, j1 = (i + 1) % size, (j + 1) % size
    flat = table.ravel()
    i, i1 = i * size, i1 * size
    top = flat[i + j] * (1 - dv) + flat[i + j1] * dv
    low = flat[i1 + j] * (1 - dv) + flat[i1 + j1] * dv
    return top * (1 - du) + low * du


def _bit(x: np.ndarray) -> np.ndarray:
    """0 or 1: parity of the integer below ``x``."""
    return np.floor(x) % 2


def _checker(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return _bit(np.floor(u) + np.floor(v))


def _stripes(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return _bit(u)


def _bricks(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    row = np.floor(v * 2)
    along, up = (u + 0.5 * (row % 2)) % 1, (v * 2) % 1
    return ((along < 0.06) | (up < 0.12)).astype(_F)


def _planks(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    row = np.floor(v * 2)
    plank = row * 7 + np.floor(u / 3 + row * 0.37)
    shade = noise.ravel()[plank.astype(np.int32) % noise.size]
    figure = value_noise(u * 0.7 + row * 3, v * 14, noise)
    seam = ((v * 2) % 1 < 0.05) | ((u / 3 + row * 0.37) % 1 < 0.012)
    return np.where(seam, _F(1), 0.45 * shade + 0.35 * figure)


def _clouds(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return 0.6 * value_noise(u, v, noise) + 0.4 * value_noise(u * 2.7 + 9, v * 2.7, noise)


def _dots(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    row = np.floor(v)
    x, y = (u + 0.5 * (row % 2)) % 1 - 0.5, v % 1 - 0.5
    return (x * x + y * y < 0.085).astype(_F)


def _diamonds(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return _bit(np.floor(u + v) + np.floor(u - v))


def _plaid(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return 0.5 * ((u % 1) < 0.35) + 0.5 * ((v % 1) < 0.35)


def _waves(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return (np.sin(v * _F(2 * np.pi) + 1.3 * np.sin(u * _F(np.pi))) > 0.1).astype(_F)


def _rings(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    x, y = u % 2 - 1, v % 2 - 1
    return _bit(np.sqrt(x * x + y * y) * 3)


def _marble(u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    return np.abs(np.sin((u + 2.5 * value_noise(u * 1.3, v * 1.3, noise)) * _F(np.pi))) ** 6


PATTERNS: dict[str, dict[str, Callable]] = {
    'a': dict(
        checker=_checker, stripes=_stripes, bricks=_bricks, planks=_planks, clouds=_clouds
    ),
    'b': dict(
        dots=_dots, diamonds=_diamonds, plaid=_plaid, waves=_waves, rings=_rings, marble=_marble
    ),
}  # fmt: skip
# Patterns that suit each kind of surface; the first ones of a set look like real floors and walls.
USES = {
    'a': dict(
        floor=('checker', 'planks', 'planks', 'clouds'),
        wall=('plain', 'bricks', 'stripes', 'clouds'),
        wood=('planks', 'plain'), cloth=('plain', 'stripes', 'checker', 'clouds'),
    ),
    'b': dict(
        floor=('marble', 'diamonds', 'plaid', 'rings'),
        wall=('plain', 'dots', 'waves', 'marble'),
        wood=('marble', 'plain'), cloth=('plain', 'dots', 'plaid', 'waves'),
    ),
}  # fmt: skip
SKIN = {
    'a': ((0.94, 0.77, 0.66), (0.80, 0.60, 0.46), (0.55, 0.38, 0.27), (0.36, 0.23, 0.16)),
    'b': ((0.90, 0.70, 0.58), (0.72, 0.51, 0.37), (0.47, 0.31, 0.21), (0.29, 0.18, 0.12)),
}


def sample_color(
    rng: np.random.Generator, texture_set: str, saturation: tuple, value: tuple
) -> tuple[float, float, float]:
    """An RGB colour whose hue lies in a sector of ``texture_set``."""
    sector = 2 * rng.integers(SECTORS // 2) + (texture_set == 'b')
    hue = (sector + rng.uniform(0.1, 0.9)) / SECTORS
    return colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))


def sample_material(rng: np.random.Generator, texture_set: str, use: str) -> Material:
    """A random material for ``'floor'``, ``'wall'``, ``'wood'`` or ``'cloth'``."""
    patterns = USES[texture_set][use]
    pattern = patterns[rng.integers(len(patterns))]
    pale = use == 'wall'
    ranges = dict(wall=((0.05, 0.4), (0.65, 0.95)), floor=((0.15, 0.55), (0.35, 0.8)),
                  wood=((0.3, 0.7), (0.3, 0.8)), cloth=((0.25, 0.9), (0.25, 0.9)))[use]  # fmt: skip
    color = sample_color(rng, texture_set, *ranges)
    if rng.random() < 0.4 and not pale:
        second = sample_color(rng, texture_set, *ranges)
    else:
        factor = rng.uniform(0.55, 0.85)
        second = tuple(c * factor for c in color)
    scales = dict(floor=(0.35, 0.8), wall=(0.25, 0.7), wood=(0.15, 0.4), cloth=(0.06, 0.2))[use]
    return Material(
        color, second, pattern, scale=rng.uniform(*scales),
        angle=float(rng.integers(2) * np.pi / 2) if use in ('floor', 'cloth') else 0.0,
        grain=rng.uniform(0.03, 0.15),
    )  # fmt: skip


def shade_material(material: Material, u: np.ndarray, v: np.ndarray, noise: Noise) -> np.ndarray:
    """Albedo ``(N, 3)`` of ``material`` at surface coordinates ``u``, ``v`` ``(N,)`` in metres."""
    color = np.array(material.color, _F)
    if material.pattern == 'plain':
        albedo = np.broadcast_to(color, (u.size, 3))
    else:
        c, s = _F(np.cos(material.angle)), _F(np.sin(material.angle))
        scale = _F(1 / material.scale)
        # The offset keeps pattern edges off the frames' origins, where surfaces often lie.
        x, y = (c * u + s * v) * scale + _F(0.137), (c * v - s * u) * scale + _F(0.219)
        families = {**PATTERNS['a'], **PATTERNS['b']}
        share = np.asarray(families[material.pattern](x, y, noise), _F)[:, None]
        albedo = color + share * (np.array(material.second, _F) - color)
    if material.grain:
        fine = value_noise(u * _F(23), v * _F(23), noise)
        albedo = albedo * (1 + _F(material.grain) * (fine - _F(0.5)))[:, None]
    return np.clip(albedo, _F(0.02), _F(0.98))
