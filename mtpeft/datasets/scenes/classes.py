"""What can stand in a scene, and its number in each label space.

``pascal`` is PASCAL VOC's numbering (0 = background); ``nyud`` counts the 40 NYUD classes from 0;
``context`` is PASCAL-Context's 459-class numbering, which only the exported context maps use.
Where PASCAL-Context has no published number for a thing we take the nearest of its 59 frequent
classes (a rug is cloth, a crate is wood, a picture is a sign, a ball is a rock).
"""

from typing import NamedTuple

import numpy as np

LABEL_SPACES = {'pascal': 21, 'nyud': 40}


class SceneClass(NamedTuple):
    """A kind of thing: its name, its numbers, and whether it may be the salient object."""

    name: str
    pascal: int
    nyud: int
    context: int
    thing: bool


CLASSES = (
    SceneClass('floor', 0, 1, 158, False),
    SceneClass('ceiling', 0, 21, 68, False),
    SceneClass('wall', 0, 0, 440, False),
    SceneClass('door', 0, 7, 115, False),
    SceneClass('window', 0, 8, 454, False),
    SceneClass('picture', 0, 10, 355, False),
    SceneClass('rug', 0, 19, 80, False),
    SceneClass('cabinet', 0, 2, 46, True),
    SceneClass('bookshelf', 0, 9, 349, True),
    SceneClass('box', 0, 28, 458, True),
    SceneClass('lamp', 0, 34, 232, True),
    SceneClass('ball', 0, 39, 326, True),
    SceneClass('bottle', 5, 39, 34, True),
    SceneClass('chair', 9, 4, 72, True),
    SceneClass('diningtable', 11, 6, 397, True),
    SceneClass('dog', 12, 39, 113, True),
    SceneClass('person', 15, 30, 284, True),
    SceneClass('pottedplant', 16, 39, 308, True),
    SceneClass('sofa', 18, 5, 368, True),
    SceneClass('tvmonitor', 20, 24, 427, True),
)
CLASS_INDEX = {c.name: i for i, c in enumerate(CLASSES)}
IS_THING = np.array([c.thing for c in CLASSES])


def class_numbers(label_space: str) -> np.ndarray:
    """Number in ``'pascal'``, ``'nyud'`` or ``'context'`` of every entry of :data:`CLASSES`."""
    return np.array([getattr(c, label_space) for c in CLASSES], np.int32)
