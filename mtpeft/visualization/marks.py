"""What can be on a drawing: pictures, boxes of one colour, lines of text."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Box = tuple[float, float, float, float]
Colour = Sequence[int]


class Picture(NamedTuple):
    """Pixels ``(H, W, 3)`` in a box (left, top, width, height)."""

    box: Box
    rgb: np.ndarray


class Fill(NamedTuple):
    """A box of one colour."""

    box: Box
    colour: Colour


class Text(NamedTuple):
    """A line: ``x`` is its left end, middle or right end, ``y`` its baseline.

    Turned text runs upwards, and its middle is at ``(x, y)``.
    """

    x: float
    y: float
    text: str
    size: float
    bold: bool
    align: Literal['left', 'center', 'right']
    colour: Colour
    turned: bool


Mark = Picture | Fill | Text
