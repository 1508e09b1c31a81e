"""Objects of distinct classes, built about the origin on z = 0 with their front towards -y."""

from collections.abc import Callable

import numpy as np

from mtpeft.datasets.scenes.geometry import box, capsule, ellipsoid, frustum
from mtpeft.datasets.scenes.scene import Element, Thing, turn
from mtpeft.datasets.scenes.textures import Material, sample_color, sample_material

Made = tuple[Thing, float]


def _plain(
    rng: np.random.Generator,
    texture_set: str,
    saturation: tuple = (0.3, 0.8),
    value: tuple = (0.3, 0.8),
    **kwargs: float,
) -> Material:
    return Material(sample_color(rng, texture_set, saturation, value), **kwargs)


def _scaled(color: tuple, factor: float) -> tuple[float, float, float]:
    return tuple(c * factor for c in color)


def _thing(name: str, *parts: tuple) -> Thing:
    return Thing(name, tuple(Element(shape, material) for shape, material in parts))


def chair(rng: np.random.Generator, texture_set: str) -> Made:
    """Four legs, a seat 0.45 m high, a back."""
    wood = sample_material(rng, texture_set, 'wood')
    seat = sample_material(rng, texture_set, 'cloth')
    w, d = rng.uniform(0.38, 0.48), rng.uniform(0.38, 0.46)
    x, y, leg = w / 2 - 0.03, d / 2 - 0.03, 0.022
    parts = [(frustum((sx * x, sy * y, 0), (sx * x, sy * y, 0.42), leg), wood)
             for sx in (-1, 1) for sy in (-1, 1)]  # fmt: skip
    top = rng.uniform(0.85, 1.0)
    parts.append((box((0, 0, 0.43), (w, d, 0.05)), seat))
    parts += [(box((sx * x, y + 0.01, (0.45 + top) / 2), (0.04, 0.03, top - 0.45)), wood)
              for sx in (-1, 1)]  # fmt: skip
    parts.append((box((0, y, top - 0.13), (w, 0.035, 0.26)), seat))
    return _thing('chair', *parts), 0.36


def table(rng: np.random.Generator, texture_set: str) -> Made:
    """A rectangular top on four legs, or a round one on a pillar; height 0.72 m."""
    wood = sample_material(rng, texture_set, 'wood')
    if rng.random() < 0.35:
        r = rng.uniform(0.45, 0.65)
        parts = [(frustum((0, 0, 0.68), (0, 0, 0.72), r), wood),
                 (frustum((0, 0, 0.03), (0, 0, 0.68), 0.06), wood),
                 (frustum((0, 0, 0), (0, 0, 0.04), r * 0.6, r * 0.5), wood)]  # fmt: skip
        return _thing('diningtable', *parts), r + 0.05
    w, d = rng.uniform(1.0, 1.6), rng.uniform(0.6, 0.85)
    x, y = w / 2 - 0.06, d / 2 - 0.06
    parts = [(box((sx * x, sy * y, 0.34), (0.06, 0.06, 0.68)), wood)
             for sx in (-1, 1) for sy in (-1, 1)]  # fmt: skip
    parts.append((box((0, 0, 0.7), (w, d, 0.04)), wood))
    return _thing('diningtable', *parts), 0.5 * np.hypot(w, d)


def sofa(rng: np.random.Generator, texture_set: str) -> Made:
    """Base, cushions, back and two arms."""
    cloth = sample_material(rng, texture_set, 'cloth')
    w = rng.uniform(1.3, 2.0)
    parts = [
        (box((0, 0, 0.2), (w, 0.8, 0.3)), cloth),
        (box((0, 0.3, 0.6), (w - 0.36, 0.2, 0.5), turn('x', -0.12)), cloth),
        (capsule((-w / 2 + 0.09, -0.32, 0.5), (-w / 2 + 0.09, 0.34, 0.5), 0.09), cloth),
        (capsule((w / 2 - 0.09, -0.32, 0.5), (w / 2 - 0.09, 0.34, 0.5), 0.09), cloth),
        (box((-w / 2 + 0.09, 0, 0.35), (0.18, 0.78, 0.3)), cloth),
        (box((w / 2 - 0.09, 0, 0.35), (0.18, 0.78, 0.3)), cloth),
    ]
    cushion = sample_material(rng, texture_set, 'cloth') if rng.random() < 0.5 else cloth
    half = (w - 0.38) / 2
    parts += [(box((sx * (half / 2 + 0.005), -0.08, 0.4), (half, 0.6, 0.12)), cushion)
              for sx in (-1, 1)]  # fmt: skip
    return _thing('sofa', *parts), w / 2


def cabinet(rng: np.random.Generator, texture_set: str) -> Made:
    """A chest with two doors or drawers and knobs."""
    wood = sample_material(rng, texture_set, 'wood')
    front = sample_material(rng, texture_set, 'wood')
    knob = _plain(rng, texture_set, value=(0.1, 0.3), specular=0.4)
    w, h = rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.3)
    parts = [(box((0, 0, h / 2), (w, 0.42, h)), wood)]
    rows = int(rng.integers(1, 4))
    cell = (h - 0.06) / rows
    for row in range(rows):
        z = 0.03 + cell * (row + 0.5)
        for sx in (-1, 1):
            parts.append((box((sx * w / 4, -0.215, z), (w / 2 - 0.05, 0.02, cell - 0.04)), front))
            parts.append((ellipsoid((sx * 0.07, -0.24, z), (0.022,) * 3), knob))
    return _thing('cabinet', *parts), w / 2


def bookshelf(rng: np.random.Generator, texture_set: str) -> Made:
    """An open shelf with books."""
    wood = sample_material(rng, texture_set, 'wood')
    w, h, d = rng.uniform(0.7, 1.0), rng.uniform(1.4, 1.9), 0.3
    boards = 4
    parts = [(box((sx * w / 2, 0, h / 2), (0.04, d, h)), wood) for sx in (-1, 1)]
    parts.append((box((0, d / 2 - 0.01, h / 2), (w, 0.02, h)), wood))
    gap = h / boards
    for k in range(boards + 1):
        parts.append((box((0, 0, min(0.02 + k * gap, h - 0.02)), (w, d, 0.035)), wood))
    for k in range(boards):
        x = -w / 2 + 0.05
        while x < w / 2 - 0.2:
            width, height = rng.uniform(0.06, 0.2), gap * rng.uniform(0.55, 0.85)
            if rng.random() < 0.75:
                book = _plain(rng, texture_set)
                centre = (x + width / 2, 0, 0.035 + k * gap + height / 2)
                parts.append((box(centre, (width - 0.008, 0.22, height)), book))
            x += width
    return _thing('bookshelf', *parts), w / 2


def tvmonitor(rng: np.random.Generator, texture_set: str) -> Made:
    """A dark, glossy screen in a frame on a foot; bottom at z = 0."""
    dark = sample_color(rng, texture_set, (0.1, 0.4), (0.03, 0.12))
    frame = Material(sample_color(rng, texture_set, (0.05, 0.3), (0.1, 0.35)))
    w = rng.uniform(0.55, 1.0)
    h = w * 0.58
    parts = [
        (box((0, 0, 0.1 + h / 2), (w, 0.05, h)), frame),
        (box((0, -0.028, 0.1 + h / 2), (w - 0.06, 0.01, h - 0.06)), Material(dark, specular=0.5)),
        (frustum((0, 0.01, 0.01), (0, 0.01, 0.12), 0.03), frame),
        (frustum((0, 0, 0), (0, 0, 0.02), 0.15), frame),
    ]
    return _thing('tvmonitor', *parts), w / 2


def bottle(rng: np.random.Generator, texture_set: str) -> Made:
    """Body, shoulder, neck, cap and label; 0.3 m high."""
    glass = _plain(rng, texture_set, (0.5, 0.9), (0.2, 0.6), specular=0.5)
    label = _plain(rng, texture_set, (0.1, 0.6), (0.6, 0.95))
    r = 0.042
    parts = [
        (frustum((0, 0, 0), (0, 0, 0.17), r), glass),
        (frustum((0, 0, 0.17), (0, 0, 0.23), r, 0.4 * r), glass),
        (frustum((0, 0, 0.23), (0, 0, 0.3), 0.4 * r), glass),
        (frustum((0, 0, 0.05), (0, 0, 0.13), r * 1.03), label),
        (frustum((0, 0, 0.285), (0, 0, 0.315), 0.48 * r), label),
    ]
    return _thing('bottle', *parts), r


def pottedplant(rng: np.random.Generator, texture_set: str) -> Made:
    """A pot with a stem and a bush of leaves."""
    pot = _plain(rng, texture_set, (0.3, 0.7), (0.4, 0.8))
    # Leaves are green in set a and blue-green in set b, each within a sector of its own.
    base = (0.15, 0.5, 0.2) if texture_set == 'a' else (0.12, 0.47, 0.36)
    leaf = [Material(_scaled(base, rng.uniform(0.7, 1.25)), grain=0.5) for _ in range(3)]
    h = rng.uniform(0.25, 0.4)
    parts = [
        (frustum((0, 0, 0), (0, 0, h), 0.11, 0.17), pot),
        (frustum((0, 0, h - 0.03), (0, 0, h), 0.185), pot),
        (capsule((0, 0, h), (0, 0, h + 0.35), 0.02), Material(_scaled(base, 0.6))),
    ]
    for k in range(int(rng.integers(7, 11))):
        azimuth, tilt = k * 2.4 + rng.uniform(-0.3, 0.3), rng.uniform(0.2, 1.3)
        rotation = turn('z', azimuth) @ turn('y', tilt)
        out = rotation[:, 2]
        centre = np.array([0, 0, h + rng.uniform(0.05, 0.35)]) + 0.22 * out
        parts.append((ellipsoid(centre, (0.03, 0.085, 0.2), rotation), leaf[k % 3]))
    return _thing('pottedplant', *parts), 0.3


def dog(rng: np.random.Generator, texture_set: str) -> Made:
    """A standing dog; its head is at -y."""
    fur = _plain(rng, texture_set, (0.2, 0.6), (0.2, 0.8), grain=0.3)
    dark = Material(_scaled(fur.color, 0.35))
    k = rng.uniform(0.8, 1.2)
    turned = rng.uniform(-0.6, 0.6)
    head = k * np.array([0.3 * np.sin(turned) * 0.5, -0.38, 0.62])
    snout = head + k * 0.14 * np.array([np.sin(turned), -np.cos(turned), -0.25])
    parts = [
        (capsule((0, -0.2 * k, 0.42 * k), (0, 0.22 * k, 0.4 * k), 0.12 * k), fur),
        (capsule((0, -0.24 * k, 0.46 * k), head, 0.07 * k), fur),
        (ellipsoid(head, (0.08 * k, 0.1 * k, 0.085 * k)), fur),
        (capsule(head, snout, 0.045 * k), fur),
        (ellipsoid(snout + k * np.array([0, -0.035, 0.02]), (0.022 * k,) * 3), dark),
        (capsule((0, 0.3 * k, 0.46 * k), (0.05 * k, 0.45 * k, 0.62 * k), 0.025 * k), fur),
    ]
    for side in (-1, 1):
        ear = head + k * np.array([side * 0.075, 0.03, 0.03])
        parts.append((ellipsoid(ear, (0.02 * k, 0.04 * k, 0.075 * k)), dark))
        for y in (-0.22, 0.22):
            swing = rng.uniform(-0.06, 0.06)
            foot = (side * 0.075 * k, (y + swing) * k, 0.03 * k)
            parts.append((capsule((side * 0.07 * k, y * k, 0.36 * k), foot, 0.035 * k), fur))
    return _thing('dog', *parts), 0.5 * k


def lamp(rng: np.random.Generator, texture_set: str) -> Made:
    """A floor lamp: foot, pole, shade."""
    metal = _plain(rng, texture_set, (0.05, 0.4), (0.2, 0.5), specular=0.4)
    shade = _plain(rng, texture_set, (0.1, 0.5), (0.8, 0.95))
    h = rng.uniform(1.3, 1.7)
    return _thing(
        'lamp',
        (frustum((0, 0, 0), (0, 0, 0.03), 0.15), metal),
        (frustum((0, 0, 0), (0, 0, h), 0.016), metal),
        (frustum((0, 0, h - 0.2), (0, 0, h + 0.1), 0.22, 0.12), shade),
    ), 0.24  # fmt: skip


def crate(rng: np.random.Generator, texture_set: str) -> Made:
    """One box, or two stacked askew."""
    w = rng.uniform(0.3, 0.6)
    h = rng.uniform(0.25, 0.55)
    size = (w, w * rng.uniform(0.7, 1), h)
    parts = [(box((0, 0, h / 2), size), sample_material(rng, texture_set, 'wood'))]
    if rng.random() < 0.4:
        h2 = h * rng.uniform(0.5, 0.8)
        rotation = turn('z', rng.uniform(-0.6, 0.6))
        upper = box((0, 0, h + h2 / 2), (w * 0.65, w * 0.6, h2), rotation)
        parts.append((upper, sample_material(rng, texture_set, 'cloth')))
    return _thing('box', *parts), w * 0.7


def ball(rng: np.random.Generator, texture_set: str) -> Made:
    """A ball."""
    r = rng.uniform(0.1, 0.3)
    skin = sample_material(rng, texture_set, 'cloth')
    skin = Material(skin.color, skin.second, skin.pattern, r * 0.7, grain=0.05, specular=0.35)
    return _thing('ball', (ellipsoid((0, 0, r), (r, r, r)), skin)), r


STANDING: dict[str, Callable[..., Made]] = dict(
    chair=chair, diningtable=table, pottedplant=pottedplant, dog=dog, lamp=lamp, box=crate,
    ball=ball,
)  # fmt: skip
AGAINST_WALL: dict[str, Callable[..., Made]] = dict(sofa=sofa, cabinet=cabinet, bookshelf=bookshelf)
ON_TOP: dict[str, Callable[..., Made]] = dict(
    bottle=bottle, tvmonitor=tvmonitor, pottedplant=pottedplant
)
