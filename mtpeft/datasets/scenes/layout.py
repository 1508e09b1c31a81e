"""A random room: who and what stands where, how it is lit, and where the camera is."""

import numpy as np

from mtpeft.datasets.scenes import furniture
from mtpeft.datasets.scenes.figures import POSES, SEATED, Clothes, jitter, person, sample_clothes
from mtpeft.datasets.scenes.geometry import box
from mtpeft.datasets.scenes.scene import Camera, Element, Light, Scene, Thing, turn
from mtpeft.datasets.scenes.textures import Material, sample_color, sample_material

TEXTURE_SETS = ('a', 'b')
_TRIES = 25


def scene_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of scene ``index``: it depends on nothing but the two numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def random_scene(seed: int, index: int, texture_set: str = 'a') -> Scene:
    """Lay out scene ``index`` of the endless sequence ``seed``.

    Args:
        seed: Non-negative integer.
        index: Non-negative integer.
        texture_set: ``'a'`` or ``'b'``: which of two disjoint families of colours and patterns.
    """
    return _Layout(scene_rng(seed, index), texture_set).build()


class _Layout:
    """State of one random scene while it is being laid out."""

    def __init__(self, rng: np.random.Generator, texture_set: str) -> None:
        self.rng, self.textures = rng, texture_set
        self.things: list[Thing] = []
        self.taken: list[tuple[float, float, float]] = []
        self.panels: list[tuple[int, float, float]] = []
        self.size = self._room()
        self.camera = self._camera()

    def build(self) -> Scene:
        rng = self.rng
        surfaces = self._surfaces()
        self._fixtures()
        for _ in range(int(rng.choice(4, p=[0.1, 0.45, 0.3, 0.15]))):
            self._person()
        for _ in range(int(rng.integers(0, 3))):
            self._against_wall()
        for _ in range(int(rng.integers(1, 5))):
            self._standing()
        light = self._light()
        noise = rng.random((64, 64), dtype=np.float32)
        return Scene(self.size, surfaces, tuple(self.things), self.camera, light, noise)

    def _room(self) -> np.ndarray:
        rng = self.rng
        if rng.random() < 0.2:
            return np.array([rng.uniform(2.2, 3.2), rng.uniform(8, 13), rng.uniform(2.3, 2.9)])
        return np.array([rng.uniform(4, 8), rng.uniform(5, 9), rng.uniform(2.4, 3.4)])

    def _camera(self) -> Camera:
        rng, (w, d, _) = self.rng, self.size
        x, y = w * rng.uniform(0.2, 0.8), rng.uniform(0.3, 1.2)
        position = np.array([x, y, rng.uniform(0.9, 1.9)])
        target = np.array([w * rng.uniform(0.25, 0.75), d * rng.uniform(0.6, 0.9)])
        yaw = -np.arctan2(*(target - position[:2]))
        # A high camera looks down, a low one ahead.
        pitch = -rng.uniform(0, 0.1) - 0.22 * (position[2] - 0.9) * rng.uniform(0.3, 1)
        return Camera(position, yaw, pitch, rng.normal(0, 0.03), np.radians(rng.uniform(48, 70)))

    def _surfaces(self) -> tuple[Material, ...]:
        rng, textures = self.rng, self.textures
        wall, floor = (sample_material(rng, textures, use) for use in ('wall', 'floor'))
        other = sample_material(rng, textures, 'wall') if rng.random() < 0.3 else wall
        ceiling = Material(sample_color(rng, textures, (0.0, 0.15), (0.75, 0.95)), grain=0.05)
        walls = (wall, wall, wall, other)
        return (*walls, floor, ceiling)

    def _light(self) -> Light:
        rng, (w, d, h) = self.rng, self.size
        ambient, fill = rng.uniform(0.35, 0.6), rng.uniform(0.08, 0.25)
        if rng.random() < 0.6:
            position = np.array([w * rng.uniform(0.2, 0.8), d * rng.uniform(0.15, 0.7), h - 0.15])
            return Light(position, rng.uniform(0.7, 1.0), 5.0, ambient, fill)
        # Daylight: so far away that its rays are nearly parallel.
        azimuth, height = rng.uniform(-1.4, 1.4), rng.uniform(0.5, 1.1)
        away = np.array([np.sin(azimuth), -np.cos(azimuth), np.tan(height)])
        position = np.array([w / 2, d / 2, 0]) + 40 * away / np.linalg.norm(away)
        return Light(position, rng.uniform(0.55, 0.8), 1e3, ambient, fill)

    def _free(self, x: float, y: float, radius: float, margin: float = 0.05) -> bool:
        w, d, _ = self.size
        if not (radius + margin < x < w - radius - margin):
            return False
        if not (radius + margin < y < d - radius - margin):
            return False
        return all(np.hypot(x - a, y - b) > radius + r for a, b, r in self.taken)

    def _spot(self, radius: float, nearest: float, farthest: float) -> tuple[float, float] | None:
        """A free place in front of the camera, or None."""
        rng, camera = self.rng, self.camera
        for _ in range(_TRIES):
            distance = rng.uniform(nearest + radius, farthest)
            bearing = camera.yaw + rng.uniform(-0.5, 0.5) * camera.fov * 0.95
            x = camera.position[0] - distance * np.sin(bearing)
            y = camera.position[1] + distance * np.cos(bearing)
            if self._free(x, y, radius):
                return x, y
        return None

    def _put(self, thing: Thing, spot: tuple, radius: float, yaw: float, z: float = 0.0) -> None:
        self.things.append(thing.placed((*spot, z), yaw))
        if z == 0:
            self.taken.append((*spot, radius))

    def _facing_camera(self, spot: tuple, front: str) -> float:
        """Yaw that turns a front at +y or -y towards the camera."""
        dx, dy = self.camera.position[:2] - np.array(spot)
        return np.arctan2(-dx, dy) + (np.pi if front == '-y' else 0.0)

    def _person(self) -> None:
        rng = self.rng
        child = rng.random() < 0.15
        stature = rng.uniform(1.05, 1.4) if child else rng.normal(1.72, 0.08)
        clothes, girth = sample_clothes(rng, self.textures), rng.uniform(0.9, 1.2)
        if not child and rng.random() < 0.25:
            self._seated(clothes, stature, girth)
            return
        name = list(POSES)[rng.integers(len(POSES))]
        spot = self._spot(0.38, 1.2, 5.0)
        if spot is None:
            return
        yaw = self._facing_camera(spot, '+y') + rng.normal(0, 0.9)
        self._put(person(jitter(POSES[name], rng), clothes, stature, girth), spot, 0.38, yaw)

    def _seated(self, clothes: Clothes, stature: float, girth: float) -> None:
        rng = self.rng
        seat, radius = furniture.chair(rng, self.textures)
        spot = self._spot(0.55, 1.2, 4.5)
        if spot is None:
            return
        yaw = self._facing_camera(spot, '-y') + rng.normal(0, 0.6)
        self._put(seat, spot, 0.55, yaw)
        sitter = person(jitter(SEATED, rng, 0.06), clothes, stature, girth)
        # The chair's front is -y, a person's +y; hips sit a hand behind the seat's middle.
        x, y, _ = (*spot, 0) + turn('z', yaw + np.pi) @ [0, -0.06, 0]
        self.things.append(sitter.placed((x, y, 0), yaw + np.pi))

    def _standing(self) -> None:
        rng = self.rng
        kinds = list(furniture.STANDING)
        kind = kinds[rng.integers(len(kinds))]
        thing, radius = furniture.STANDING[kind](rng, self.textures)
        spot = self._spot(radius, 1.0, 6.0)
        if spot is None:
            return
        yaw = rng.uniform(-np.pi, np.pi)
        self._put(thing, spot, radius, yaw)
        if kind == 'diningtable':
            self._on_top(spot, 0.72, 0.3, yaw)

    def _on_top(self, spot: tuple, height: float, reach: float, yaw: float) -> None:
        """One to three small things on a table or cabinet."""
        rng = self.rng
        places = rng.permutation(3)[: rng.integers(1, 4)] - 1
        for place in places:
            kinds = list(furniture.ON_TOP)
            kind = kinds[rng.choice(3, p=[0.6, 0.25, 0.15])]
            thing, _ = furniture.ON_TOP[kind](rng, self.textures)
            shift = turn('z', yaw) @ [place * reach, rng.uniform(-0.1, 0.1), 0]
            at = (spot[0] + shift[0], spot[1] + shift[1])
            turned = self._facing_camera(at, '-y') + rng.normal(0, 0.3)
            self._put(thing, at, 0.0, turned if kind == 'tvmonitor' else 0.0, height)

    def _against_wall(self) -> None:
        rng, (w, d, _) = self.rng, self.size
        kinds = list(furniture.AGAINST_WALL)
        kind = kinds[rng.integers(len(kinds))]
        thing, radius = furniture.AGAINST_WALL[kind](rng, self.textures)
        deep = dict(sofa=0.45, cabinet=0.27, bookshelf=0.18)[kind]
        for _ in range(_TRIES):
            wall = rng.integers(3)
            # Walls: left (front looks to +x), right, back.
            along = rng.uniform(self.camera.position[1] + 1.5, d - radius) if wall < 2 else 0
            x, y, yaw = [
                (deep, along, np.pi / 2),
                (w - deep, along, -np.pi / 2),
                (rng.uniform(radius, w - radius), d - deep, 0.0),
            ][wall]
            near_wall = radius < 0.95 * w / 2 and all(
                np.hypot(x - a, y - b) > 0.8 * radius + r for a, b, r in self.taken
            )
            if near_wall:
                self._put(thing, (x, y), 0.8 * radius, yaw)
                if kind == 'cabinet' and rng.random() < 0.7:
                    top = max(e.shape.center[2] + e.shape.axes[2].max() for e in thing.elements)
                    self._on_top((x, y), top, 0.25, yaw)
                return

    def _fixtures(self) -> None:
        """Door, window, pictures on the walls; a rug on the floor."""
        rng, w = self.rng, self.size[0]
        if rng.random() < 0.55:
            self._panel('door', (0.85, 2.02), 0.0)
        if rng.random() < 0.6:
            self._panel('window', (rng.uniform(0.9, 1.6), rng.uniform(0.9, 1.3)), 0.9)
        for _ in range(int(rng.integers(0, 3))):
            size = tuple(rng.uniform(0.4, 0.9, 2))
            self._panel('picture', size, rng.uniform(1.1, 1.5))
        if rng.random() < 0.4:
            size = (rng.uniform(1.2, 0.6 * w), rng.uniform(1.2, 2.4), 0.02)
            cloth = sample_material(rng, self.textures, 'cloth')
            ahead = self.camera.position[1] + rng.uniform(2, 3.5)
            centre = (w * rng.uniform(0.4, 0.6), ahead, 0.01)
            thing = Thing('rug', (Element(box((0, 0, 0), size), cloth),))
            self.things.append(thing.placed(centre, rng.normal(0, 0.15)))

    def _panel(self, name: str, size: tuple, bottom: float) -> None:
        """A flat thing on the left, right or back wall, clear of the other ones."""
        rng, (w, d, h) = self.rng, self.size
        width, height = size[0], min(size[1], h - bottom - 0.1)
        wall = int(rng.integers(3))
        length = w if wall == 2 else d
        if length < width + 0.5 or height < 0.2:
            return
        # On the side walls only the far half is seen well.
        first = width / 2 + 0.1 if wall == 2 else 0.4 * length
        last = length - width / 2 - 0.1
        if first >= last:
            return
        along = rng.uniform(first, last)
        if any(k == wall and abs(along - a) < (width + b) / 2 + 0.1 for k, a, b in self.panels):
            return
        self.panels.append((wall, along, width))
        parts = self._panel_parts(name, width, height)
        z = bottom + height / 2
        x, y, yaw = [
            (0.01, along, np.pi / 2), (w - 0.01, along, -np.pi / 2), (along, d - 0.01, 0.0)
        ][wall]  # fmt: skip
        self.things.append(Thing(name, tuple(parts)).placed((x, y, z), yaw))

    def _panel_parts(self, name: str, width: float, height: float) -> list[Element]:
        """A frame with one leaf (a door's with a knob), or two for a window."""
        rng, textures = self.rng, self.textures
        frame = Material(sample_color(rng, textures, (0.2, 0.6), (0.25, 0.9)), grain=0.05)
        parts = [Element(box((0, 0, 0), (width, 0.04, height)), frame)]
        if name == 'window':
            pane = Material(sample_color(rng, textures, (0.05, 0.3), (0.9, 1.0)), specular=0.3)
            pitch = (width - 0.04) / 2
            for x in (-pitch / 2, pitch / 2):
                leaf = box((x, -0.015, 0), (pitch - 0.05, 0.03, height - 0.1))
                parts.append(Element(leaf, pane))
            return parts
        pane = sample_material(rng, textures, 'cloth' if name == 'picture' else 'wood')
        parts.append(Element(box((0, -0.02, 0), (width - 0.09, 0.03, height - 0.09)), pane))
        if name == 'door':
            knob = Material(sample_color(rng, textures, (0.1, 0.3), (0.2, 0.5)), specular=0.5)
            parts.append(Element(box((width * 0.36, -0.05, -0.05), (0.03, 0.05, 0.12)), knob))
        return parts
