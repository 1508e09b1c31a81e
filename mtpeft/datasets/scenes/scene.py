"""What a scene is made of. World axes: x right, y away, z up, in metres; the room's corner is 0."""

from dataclasses import dataclass, field

import numpy as np

from mtpeft.datasets.scenes.geometry import Shape
from mtpeft.datasets.scenes.textures import Material


def turn(axis: str, angle: float) -> np.ndarray:
    """Rotation matrix by ``angle`` radians about ``'x'``, ``'y'`` or ``'z'`` (right-handed)."""
    c, s = np.cos(angle), np.sin(angle)
    if axis == 'x':
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == 'y':
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@dataclass(frozen=True)
class Element:
    """One primitive of a thing; ``part`` is its human part (0 where it is not a person's)."""

    shape: Shape
    material: Material
    part: int = 0


@dataclass(frozen=True)
class Thing:
    """An object: its class, its primitives in the world, and the frame its textures live in."""

    name: str
    elements: tuple[Element, ...]
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    yaw: float = 0.0

    def placed(self, position: tuple, yaw: float) -> 'Thing':
        """The thing, built about the origin, moved to ``position`` and turned about z."""
        position, rotation = np.asarray(position, float), turn('z', yaw)
        elements = tuple(
            Element(e.shape.moved(rotation, position), e.material, e.part) for e in self.elements
        )
        return Thing(self.name, elements, position, yaw)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Args:
        position: ``(3,)`` metres.
        yaw: Heading, 0 along world y, positive to the left (radians).
        pitch: Positive looks up (radians).
        roll: Positive turns the camera clockwise (radians).
        fov: Field of view across the shorter side of the picture (radians).
    """

    position: np.ndarray
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    fov: float = 1.0

    @property
    def rotation(self) -> np.ndarray:
        """``(3, 3)`` from camera axes (x right, y down, z forward) to world axes."""
        to_world = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
        return turn('z', self.yaw) @ turn('x', self.pitch) @ to_world @ turn('z', self.roll)

    def intrinsics(self, height: int, width: int) -> np.ndarray:
        """``K (3, 3)``: pixel ``(column, row)``, counted at centres from 0, of camera points."""
        f = min(height, width) / 2 / np.tan(self.fov / 2)
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]])


@dataclass(frozen=True)
class Light:
    """Lamps: a point light that casts shadows, a weak one at the camera, and an even sky.

    The point light falls off as ``1 / (1 + (distance / reach)^2)``.
    """

    position: np.ndarray
    strength: float = 0.9
    reach: float = 5.0
    ambient: float = 0.35
    fill: float = 0.15


@dataclass(frozen=True)
class Scene:
    """A room ``[0, size]`` with things in it; ``surfaces`` are the materials of its six faces.

    The faces are ordered x = 0, x = size, y = 0, y = size (walls), floor, ceiling.
    """

    size: np.ndarray
    surfaces: tuple[Material, ...]
    things: tuple[Thing, ...]
    camera: Camera
    light: Light
    noise: np.ndarray
