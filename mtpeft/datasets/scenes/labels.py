"""Labels of the six tasks from the buffers of a rendering."""

import numpy as np

from mtpeft.datasets.scenes.classes import IS_THING, class_numbers
from mtpeft.datasets.scenes.render import Rendering

LABELS = (
    'semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge', 'albedo', 'shading', 'instance'
)  # fmt: skip
_SPREAD = 0.3


def salient_instance(rendering: Rendering) -> int | None:
    """The one salient thing: the largest sum over its pixels of ``exp(-(r / 0.3)^2 / 2)``.

    r is the distance from the picture's middle in units of its shorter side, so the sum is the
    visible area times the mean centrality. Room, door, window, picture and rug do not count; of
    equal things the first wins; without any thing there is none.
    """
    h, w = rendering.instance.shape
    side = min(h, w)
    y = ((np.arange(h) - (h - 1) / 2) / side) ** 2
    x = ((np.arange(w) - (w - 1) / 2) / side) ** 2
    weight = np.exp(-(y[:, None] + x[None, :]) / (2 * _SPREAD**2))
    score = np.bincount(
        rendering.instance.ravel(), (weight * IS_THING[rendering.scene_class]).ravel()
    )
    best = int(score.argmax())
    return best if score[best] > 0 else None


def boundaries(regions: np.ndarray) -> np.ndarray:
    """1 where the pixel to the right or below belongs to another region: lines a pixel thin."""
    out = np.zeros(regions.shape, bool)
    out[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    out[:-1] |= regions[:-1] != regions[1:]
    return out.astype(np.uint8)


def make_labels(rendering: Rendering, label_space: str = 'pascal') -> dict[str, np.ndarray]:
    """All labels of a picture.

    Args:
        rendering: The buffers.
        label_space: ``'pascal'`` (21 classes) or ``'nyud'`` (40 classes), for ``semseg``.

    Returns:
        ``semseg``, ``human_parts``, ``sal``, ``edge`` ``(H, W)`` uint8 (``edge``: the boundaries of
        instances, among them the room's corners), ``normals`` ``(H, W, 3)``, ``depth`` ``(H, W)``,
        ``albedo`` ``(H, W, 3)`` RGB and ``shading`` ``(H, W)`` float32, ``instance`` ``(H, W)``
        int16.
    """
    salient = salient_instance(rendering)
    sal = rendering.instance == salient if salient is not None else np.zeros_like(rendering.part)
    return dict(
        semseg=class_numbers(label_space).astype(np.uint8)[rendering.scene_class],
        human_parts=rendering.part,
        sal=sal.astype(np.uint8),
        normals=rendering.normals,
        depth=rendering.depth,
        edge=boundaries(rendering.instance),
        albedo=rendering.albedo,
        shading=rendering.shading,
        instance=rendering.instance,
    )
