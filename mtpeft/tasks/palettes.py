"""Colours and class names of the built-in tasks."""

from colorsys import hls_to_rgb

PASCAL = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip
NYUD = (
    'wall', 'floor', 'cabinet', 'bed', 'chair', 'sofa', 'table', 'door', 'window', 'bookshelf',
    'picture', 'counter', 'blinds', 'desk', 'shelves', 'curtain', 'dresser', 'pillow', 'mirror',
    'floor mat', 'clothes', 'ceiling', 'books', 'refrigerator', 'television', 'paper', 'towel',
    'shower curtain', 'box', 'whiteboard', 'person', 'night stand', 'toilet', 'sink', 'lamp',
    'bathtub', 'bag', 'other structure', 'other furniture', 'other prop',
)  # fmt: skip
HUMAN_PARTS = (
    'background', 'head', 'torso', 'upper arms', 'lower arms', 'upper legs', 'lower legs',
)  # fmt: skip

# Shares of the circle of hues from one class to the next, that of class 0, and lightness in turn:
# classes whose numbers are close differ in both. PASCAL's persons are red.
# (Hues come near one another again after 13, 21 and 34 classes, so lightness has a cycle of 5.)
_TURN, _FIRST, _LIGHTNESS = (5**0.5 - 1) / 2, 0.73, (0.5, 0.36, 0.64, 0.26, 0.72)
_BACKGROUND = (236, 236, 236)


HUMAN_PARTS_PALETTE = (
    (236, 236, 236), (244, 162, 36), (38, 120, 178), (120, 190, 60), (20, 120, 60),
    (170, 90, 200), (214, 39, 70),
)  # fmt: skip


def class_palette(num_classes: int) -> list[tuple[int, int, int]]:
    """RGB colours, all different: class 0 in light grey, the others in strong colours.

    Neighbours are a golden section of the hues apart. (PASCAL VOC's own colours, by the bits of
    the class's number, are dark on black.)

    Example:
        >>> class_palette(3)
        [(236, 236, 236), (20, 163, 33), (209, 117, 136)]
    """
    colours = [_BACKGROUND]
    for index in range(1, num_classes):
        lightness = _LIGHTNESS[index % len(_LIGHTNESS)]
        saturation = 0.5 if lightness > 0.6 else 0.78
        rgb = hls_to_rgb((index * _TURN + _FIRST) % 1, lightness, saturation)
        colours.append(tuple(round(255 * c) for c in rgb))
    return colours[:num_classes]
