"""Labels of the six tasks from the buffers of a rendering."""

import numpy as np

from mtpeft.datasets.scenes.classes import IS_THING, class_numbers
from mtpeft.datasets.scenes.render import Rendering

BUFFERS = {
    'semseg': ('scene_class',), 'human_parts': ('part',), 'sal': ('instance', 'scene_class'),
    'normals': ('normals',), 'depth': ('depth',), 'edge': ('instance',), 'albedo': ('albedo',),
    'shading': ('shading',),
}  # fmt: skip
"""Which buffers of a rendering each label needs."""
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


def make_label(buffers: Rendering, key: str, label_space: str = 'pascal') -> np.ndarray:
    """One label of a picture.

    Args:
        buffers: A rendering, or anything that has the attributes ``BUFFERS[key]``.
        key: ``semseg``, ``human_parts``, ``sal`` or ``edge`` (``(H, W)`` uint8; ``edge``: the
            boundaries of instances, among them the room's corners), ``normals`` ``(H, W, 3)``,
            ``depth`` ``(H, W)``, ``albedo`` ``(H, W, 3)`` RGB, ``shading`` ``(H, W)`` (float32).
        label_space: ``'pascal'`` (21 classes) or ``'nyud'`` (40 classes), for ``semseg``.
    """
    if key == 'semseg':
        return class_numbers(label_space).astype(np.uint8)[buffers.scene_class]
    if key == 'human_parts':
        return buffers.part
    if key == 'sal':
        salient = salient_instance(buffers)
        # No instance has the number -1.
        return (buffers.instance == (-1 if salient is None else salient)).astype(np.uint8)
    if key == 'edge':
        return boundaries(buffers.instance)
    return getattr(buffers, key)


def make_labels(rendering: Rendering, label_space: str = 'pascal') -> dict[str, np.ndarray]:
    """All labels of a picture, see :func:`make_label`."""
    return {key: make_label(rendering, key, label_space) for key in BUFFERS}
