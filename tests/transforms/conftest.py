"""A scene of planes and a sphere whose labels are known in closed form for any camera."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mtpeft.tasks import build_tasks

TASKS = dict(
    semseg=dict(num_classes=5), human_parts=dict(), sal=dict(), edge=dict(), depth=dict(),
    normals=dict(),
)  # fmt: skip


@dataclass
class Scene:
    """Three planes and a sphere, seen by a pinhole camera (x right, y down, z forward).

    ``motion`` moves the whole scene (a rotation about the optical axis or a mirror), so the camera
    sees what a flipped or turned picture shows. The labels are computed from the rays alone.
    """

    focal: float = 60.0
    motion: np.ndarray = field(default_factory=lambda: np.eye(3))
    # (normal, distance): floor, tilted back wall, left wall; all face the camera
    planes: tuple = (
        ((0.0, -0.95, -0.3), 2.2), ((0.2, 0.1, -0.97), 6.0), ((0.9, 0.05, -0.4), 3.2),
    )  # fmt: skip
    centre: tuple = (0.3, -0.1, 3.2)
    radius: float = 1.1

    def at(self, x: np.ndarray, y: np.ndarray, middle: tuple[float, float]) -> dict:
        """Labels at pixel positions ``x``, ``y`` of a camera whose axis passes ``middle``."""
        rays = np.stack([(x - middle[0]) / self.focal, (y - middle[1]) / self.focal, x * 0 + 1], -1)
        depths, normals = [], []
        for normal, distance in self.planes:
            unit = self.motion @ (np.array(normal) / np.linalg.norm(normal))
            along = rays @ unit
            depths.append(np.where(along < -1e-6, -distance / np.minimum(along, -1e-6), np.inf))
            normals.append(np.broadcast_to(unit, rays.shape))
        depths.append(self._sphere_depth(rays))
        hit = rays * np.where(np.isfinite(depths[-1]), depths[-1], 0)[..., None]
        normals.append((hit - self.motion @ np.array(self.centre)) / self.radius)
        surface = np.argmin(depths, 0)
        normal = np.take_along_axis(np.stack(normals), surface[None, ..., None], 0)[0]
        slant = (normal * rays).sum(-1) / np.linalg.norm(rays, axis=-1)
        sphere = surface == 3
        return dict(
            semseg=(surface + 1).astype(np.uint8),
            human_parts=(surface * 2).astype(np.uint8),
            sal=sphere.astype(np.uint8),
            edge=(sphere & (slant > -0.75)).astype(np.uint8),
            depth=np.min(depths, 0).astype(np.float32),
            normals=normal.astype(np.float32),
        )

    def image(self, height: int, width: int) -> dict:
        """Labels of every pixel; the camera's axis passes the picture's centre."""
        y, x = np.mgrid[:height, :width].astype(float)
        return self.at(x, y, ((width - 1) / 2, (height - 1) / 2))

    def _sphere_depth(self, rays: np.ndarray) -> np.ndarray:
        centre = self.motion @ np.array(self.centre)
        a, b = (rays**2).sum(-1), rays @ centre
        root = b**2 - a * (centre @ centre - self.radius**2)
        return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


@pytest.fixture
def scene():
    return Scene


@pytest.fixture
def tasks():
    return build_tasks(TASKS)


@pytest.fixture
def sample(tasks):
    """Makes a results dict of a scene ``height`` x ``width``."""

    def make(height=72, width=96, **kwargs):
        labels = Scene(**kwargs).image(height, width)
        img = np.repeat(labels['semseg'][..., None] * 50, 3, -1)
        return dict(
            img=img, img_path='scene', img_id='scene', img_shape=(height, width),
            ori_shape=(height, width), sample_idx=0, tasks=tasks, labels=labels,
        )  # fmt: skip

    return make
