"""A scene's primitives as arrays."""

import numpy as np

from mtpeft.datasets.scenes.geometry import NEAR
from mtpeft.datasets.scenes.scene import Element, Scene

_F = np.float32


class Elements:
    """A scene's primitives as arrays, in the order of its things.

    Matrices are computed in float64 without BLAS, whose sums may depend on the thread count.
    """

    def __init__(self, scene: Scene) -> None:
        pairs: list[tuple[int, Element]] = [
            (i, e) for i, thing in enumerate(scene.things) for e in thing.elements
        ]
        shapes = [e.shape for _, e in pairs]
        self.count = len(pairs)
        self.thing = np.array([i for i, _ in pairs], np.int16).reshape(-1)
        self.part = np.array([e.part for _, e in pairs], np.uint8)
        self.materials = [e.material for _, e in pairs]
        self.kind = [s.kind for s in shapes]
        self.half = [float(s.half) for s in shapes]
        self.taper = [float(s.taper) for s in shapes]
        self.axes = np.array([s.axes for s in shapes]).reshape(-1, 3, 3)
        self.center = np.array([s.center for s in shapes]).reshape(-1, 3)
        self.bounds = np.array([s.bounds for s in shapes]).reshape(-1, 3)
        self.inverse = np.linalg.inv(self.axes)
        extents = self.axes * self.bounds[:, None, :]
        self.radius = np.sqrt((extents**2).sum((1, 2)))

    def origin(self, point: np.ndarray) -> np.ndarray:
        """``point`` in every primitive's frame, ``(P, 3)`` float32."""
        return np.einsum('pij,pj->pi', self.inverse, point - self.center).astype(_F)

    def rectangles(self, scene: Scene, height: int, width: int) -> np.ndarray:
        """Pixel ranges ``(P, 4)`` (x0, x1, y0, y1) that hold each primitive's projection."""
        signs = np.array([[(k >> b & 1) * 2 - 1 for b in range(3)] for k in range(8)], float)
        corners = signs[None] * self.bounds[:, None]
        world = np.einsum('pij,pkj->pki', self.axes, corners) + self.center[:, None]
        seen = np.einsum('ji,pkj->pki', scene.camera.rotation, world - scene.camera.position)
        k = scene.camera.intrinsics(height, width)
        z = seen[..., 2]
        front = np.maximum(z, float(NEAR))
        x = k[0, 0] * seen[..., 0] / front + k[0, 2]
        y = k[1, 1] * seen[..., 1] / front + k[1, 2]
        out = np.stack([
            np.floor(x.min(1)), np.ceil(x.max(1)) + 1, np.floor(y.min(1)), np.ceil(y.max(1)) + 1
        ], 1)  # fmt: skip
        # A box that reaches behind the camera has no finite outline: take the whole picture.
        out[z.min(1) <= NEAR] = (0, width, 0, height)
        out[z.max(1) <= NEAR] = 0
        limit = np.array([width, width, height, height])
        return np.clip(out, 0, limit).astype(int)
