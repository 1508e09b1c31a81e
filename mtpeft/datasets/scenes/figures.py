"""Articulated people: capsules and ellipsoids hung on a skeleton.

Segment lengths are the usual fractions of stature (Drillis and Contini 1966). A person is built
standing at the origin and facing +y; the six part groups are those of PASCAL-Part's tables: head,
torso (with the neck), upper arms, lower arms (with hands), upper legs, lower legs (with feet).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mtpeft.datasets.scenes.geometry import capsule, ellipsoid
from mtpeft.datasets.scenes.scene import Element, Thing, turn
from mtpeft.datasets.scenes.textures import SKIN, Material, sample_color, sample_material

HEAD, TORSO, UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG = range(1, 7)
SEATED_HEIGHT = 0.45


@dataclass(frozen=True)
class Pose:
    """Joint angles in radians; pairs are (left, right).

    Args:
        lean: The trunk bends forward.
        twist: The trunk turns against the hips.
        nod: The head bends forward.
        shoulder: Upper arms swing forward.
        spread: Upper arms lift sideways.
        elbow: Forearms bend forward.
        inward: Forearms turn towards the middle.
        hip: Thighs swing forward.
        stride: Thighs open sideways.
        knee: Shins bend backward.
        seated: The hips rest on a seat instead of the feet on the floor.
    """

    lean: float = 0.03
    twist: float = 0.0
    nod: float = 0.0
    shoulder: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (0.15, 0.15)
    elbow: tuple[float, float] = (0.2, 0.2)
    inward: tuple[float, float] = (0.0, 0.0)
    hip: tuple[float, float] = (0.0, 0.0)
    stride: tuple[float, float] = (0.06, 0.06)
    knee: tuple[float, float] = (0.05, 0.05)
    seated: bool = False


POSES = {
    'stand': Pose(),
    'walk': Pose(shoulder=(-0.5, 0.55), elbow=(0.3, 0.6), hip=(0.5, -0.3), knee=(0.15, 0.5)),
    'run': Pose(lean=0.3, shoulder=(-0.8, 0.9), elbow=(1.5, 1.5), hip=(1.0, -0.5), knee=(1.1, 1.0)),
    'wave': Pose(spread=(0.15, 1.9), elbow=(0.2, 0.3), inward=(0.0, -0.9)),
    'cheer': Pose(spread=(2.5, 2.5), elbow=(0.1, 0.1), inward=(0.2, 0.2), stride=(0.2, 0.2)),
    'reach': Pose(lean=0.15, shoulder=(1.4, 1.2), elbow=(0.2, 0.4), hip=(0.2, -0.2)),
    'akimbo': Pose(spread=(0.8, 0.8), elbow=(0.1, 0.1), inward=(1.7, 1.7), stride=(0.18, 0.18)),
    'cross': Pose(spread=(1.5, 1.5), elbow=(0.0, 0.0), stride=(0.1, 0.1)),
    'think': Pose(nod=0.2, shoulder=(0.5, 0.3), elbow=(2.1, 1.3), inward=(0.3, 0.9)),
    'crouch': Pose(lean=0.6, shoulder=(0.8, 0.8), elbow=(0.7, 0.7), hip=(1.5, 1.4), knee=(2.0, 1.9),
                   stride=(0.25, 0.25)),
}  # fmt: skip
SEATED = Pose(shoulder=(0.5, 0.5), elbow=(0.8, 0.8), hip=(1.5, 1.5), knee=(1.5, 1.5),
              stride=(0.15, 0.15), seated=True)  # fmt: skip


def jitter(pose: Pose, rng: np.random.Generator, amount: float = 0.12) -> Pose:
    """The pose with every angle moved a little, mirrored half of the time."""
    flip = rng.random() < 0.5
    changes = {}
    for name, value in vars(pose).items():
        if isinstance(value, tuple):
            value = value[::-1] if flip else value
            changes[name] = tuple(v + rng.normal(0, amount) for v in value)
        elif name != 'seated':
            changes[name] = value + rng.normal(0, amount)
    knees = tuple(max(k, 0.0) for k in changes['knee'])
    return replace(pose, **{**changes, 'knee': knees})


def _limb(side: int, swing: float, spread: float) -> np.ndarray:
    """Direction of a limb that hangs down at rest; ``side`` is +1 to the right of +y."""
    return np.array([
        side * np.sin(spread), np.sin(swing) * np.cos(spread), -np.cos(swing) * np.cos(spread)
    ])  # fmt: skip


@dataclass(frozen=True)
class Clothes:
    """Materials of a person; sleeves and legs end at the joint or go all the way."""

    skin: Material
    hair: Material
    shirt: Material
    trousers: Material
    shoes: Material
    long_sleeves: bool
    long_legs: bool


def sample_clothes(rng: np.random.Generator, texture_set: str) -> Clothes:
    """Random clothes."""
    skins = SKIN[texture_set]
    dark = sample_color(rng, texture_set, (0.2, 0.6), (0.08, 0.35))
    hair = sample_color(rng, texture_set, (0.2, 0.7), (0.08, 0.5))
    return Clothes(
        skin=Material(skins[rng.integers(len(skins))], grain=0.03),
        hair=Material(hair, grain=0.3),
        shirt=sample_material(rng, texture_set, 'cloth'),
        trousers=replace(sample_material(rng, texture_set, 'cloth'), pattern='plain'),
        shoes=Material(dark),
        long_sleeves=bool(rng.random() < 0.5),
        long_legs=bool(rng.random() < 0.7),
    )


@dataclass(frozen=True)
class _Body:
    """A person's parts, the middle of the hips at the origin.

    Attributes:
        s: Stature in metres.
        g: Stature times girth, which thicknesses are shares of.
    """

    pose: Pose
    clothes: Clothes
    s: float
    g: float

    @cached_property
    def trunk(self) -> np.ndarray:
        """How the trunk is turned."""
        return turn('z', self.pose.twist) @ turn('x', -self.pose.lean)

    def up(self, height: float) -> np.ndarray:
        """The point of the spine at a height above the hips."""
        return self.trunk @ [0, 0, height * self.s]

    def head(self) -> Iterator[Element]:
        s, clothes, neck = self.s, self.clothes, self.up(0.30)
        head_turn = self.trunk @ turn('x', -self.pose.nod)
        head = neck + head_turn @ [0, 0.012 * s, 0.095 * s]
        skull = ellipsoid(head, (0.043 * s, 0.052 * s, 0.066 * s), head_turn)
        yield Element(skull, clothes.skin, HEAD)
        crown = head + head_turn @ [0, -0.012 * s, 0.018 * s]
        hair = ellipsoid(crown, (0.048 * s, 0.052 * s, 0.056 * s), head_turn)
        yield Element(hair, clothes.hair, HEAD)
        tip = head + head_turn @ [0, 0.053 * s, -0.006 * s]
        nose = ellipsoid(tip, (0.008 * s, 0.01 * s, 0.013 * s), head_turn)
        yield Element(nose, clothes.skin, HEAD)
        throat = capsule(neck - self.up(0.03), head, 0.03 * self.g)
        yield Element(throat, clothes.skin, TORSO)

    def torso(self) -> Iterator[Element]:
        s, g, clothes = self.s, self.g, self.clothes
        across = tuple(self.trunk[:, 0])
        chest, shoulders = self.up(0.20), self.up(0.265)
        half = self.trunk @ [0.085 * s, 0, 0]
        belly = capsule(self.up(0.06), chest, 0.092 * g, 0.6, across)
        yield Element(belly, clothes.shirt, TORSO)
        yoke = capsule(shoulders - half, shoulders + half, 0.043 * g)
        yield Element(yoke, clothes.shirt, TORSO)
        ribs = capsule(chest, shoulders, 0.098 * g, 0.58, across)
        yield Element(ribs, clothes.shirt, TORSO)
        pelvis = capsule((-0.035 * s, 0, 0), (0.035 * s, 0, 0), 0.063 * g)
        yield Element(pelvis, clothes.trousers, TORSO)

    def arm(self, k: int, side: int) -> Iterator[Element]:
        s, g, pose, clothes = self.s, self.g, self.pose, self.clothes
        joint = self.up(0.265) + self.trunk @ [side * 0.118 * s, 0, -0.008 * s]
        elbow = joint + 0.175 * s * self.trunk @ _limb(side, pose.shoulder[k], pose.spread[k])
        swing = pose.shoulder[k] + pose.elbow[k]
        lower = self.trunk @ _limb(side, swing, pose.spread[k] - pose.inward[k])
        wrist = elbow + 0.14 * s * lower
        sleeve = clothes.shirt if clothes.long_sleeves else clothes.skin
        yield Element(capsule(joint, elbow, 0.031 * g), clothes.shirt, UPPER_ARM)
        yield Element(capsule(elbow, wrist, 0.024 * g), sleeve, LOWER_ARM)
        hand = capsule(wrist + 0.012 * s * lower, wrist + 0.06 * s * lower, 0.022 * g, 0.7)
        yield Element(hand, clothes.skin, LOWER_ARM)

    def leg(self, k: int, side: int) -> tuple[list[Element], float]:
        """The parts of a leg, and how low it reaches."""
        s, g, pose, clothes = self.s, self.g, self.pose, self.clothes
        socket = np.array([side * 0.055 * s, 0, -0.02 * s])
        knee = socket + 0.235 * s * _limb(side, pose.hip[k], pose.stride[k])
        shin = _limb(side, pose.hip[k] - pose.knee[k], pose.stride[k] * 0.5)
        ankle = knee + 0.235 * s * shin
        cloth = clothes.trousers if clothes.long_legs else clothes.skin
        # A foot stands at right angles to the shin when that swings back, and flat before it.
        pitch = min(pose.hip[k] - pose.knee[k], 0.0)
        toes = turn('x', 0.7 * pitch) @ [side * 0.015 * s, 0.11 * s, -0.012 * s]
        foot = capsule(ankle + [0, -0.015 * s, -0.012 * s], ankle + toes, 0.026 * s)
        parts = [
            Element(capsule(socket, knee, 0.045 * g), clothes.trousers, UPPER_LEG),
            Element(capsule(knee, ankle, 0.032 * g), cloth, LOWER_LEG),
            Element(foot, clothes.shoes, LOWER_LEG),
        ]
        return parts, min(ankle[2] - 0.038 * s, (ankle + toes)[2] - 0.026 * s)


def person(pose: Pose, clothes: Clothes, stature: float = 1.72, girth: float = 1.0) -> Thing:
    """A person of ``stature`` metres; ``girth`` scales the thickness of every segment.

    Standing, the lowest foot is on z = 0; seated, the hips are over the origin on a seat
    :data:`SEATED_HEIGHT` high (scaled with nothing).
    """
    body = _Body(pose, clothes, stature, stature * girth)
    elements, lowest = [*body.head(), *body.torso()], []
    for k, side in enumerate((-1, 1)):
        leg, low = body.leg(k, side)
        elements += [*body.arm(k, side), *leg]
        lowest.append(low)
    height = SEATED_HEIGHT + 0.063 * body.g if pose.seated else -min(lowest)
    return Thing('person', tuple(elements)).placed((0, 0, height), 0.0)
