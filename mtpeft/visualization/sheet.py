"""A drawing as a list of what is on it: quick to draw as pixels, and as vectors for print."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mtpeft.utils.atomic import write_atomically
from mtpeft.visualization.formats import pixels, suffix_of, vectors
from mtpeft.visualization.marks import Box, Colour, Fill, Mark, Picture, Text

DARK, GREY = (30, 30, 30), (120, 120, 120)
_SMALLEST = 6


class Sheet:
    """White paper with pictures, boxes and lines of text on it.

    Lengths are pixels of the drawing at density 1.

    Args:
        width, height: Of the paper.
        density: Pixels of the drawing a unit of length.

    Example:
        >>> sheet = Sheet(80, 24)
        >>> sheet.text(4, 16, 'depth')
        >>> sheet.array().shape
        (24, 80, 3)
    """

    def __init__(self, width: float, height: float, density: float = 1.0) -> None:
        self.width, self.height, self.density = width, height, density
        self.marks: list[Mark] = []

    def picture(self, box: Box, rgb: np.ndarray) -> None:
        """Put ``rgb`` ``(H, W, 3)`` uint8 into a box, which it fills."""
        self.marks.append(Picture(box, rgb))

    def fill(self, box: Box, colour: Colour) -> None:
        """Paint a box."""
        self.marks.append(Fill(box, colour))

    def frame(self, box: Box, colour: Colour, stroke: float = 1) -> None:
        """Four thin lines around a box, which cover nothing of it."""
        left, top, width, height = box
        left, top, width, height = (
            left - stroke, top - stroke, width + 2 * stroke, height + 2 * stroke
        )  # fmt: skip
        for side in (
            (left, top, width, stroke), (left, top + height - stroke, width, stroke),
            (left, top, stroke, height), (left + width - stroke, top, stroke, height),
        ):  # fmt: skip
            self.fill(side, colour)

    def text(
        self, x: float, y: float, text: str, size: float = 13, bold: bool = False,
        align: Literal['left', 'center', 'right'] = 'left', colour: Colour = DARK,
        turned: bool = False, room: float | None = None,
    ) -> None:  # fmt: skip
        """Write a line, see :class:`Text`; smaller where it would be longer than ``room``."""
        if room is not None:
            wide = text_width(text, size, bold)
            size = max(_SMALLEST, min(size, size * room / max(wide, 1e-9)))
        self.marks.append(Text(x, y, text, size, bold, align, colour, turned))

    def paste(self, other: 'Sheet', left: float, top: float) -> None:
        """Put another sheet onto this one."""
        for mark in other.marks:
            if isinstance(mark, Text):
                self.marks.append(mark._replace(x=mark.x + left, y=mark.y + top))
            else:
                x, y, width, height = mark.box
                self.marks.append(mark._replace(box=(x + left, y + top, width, height)))

    def array(self) -> np.ndarray:
        """The drawing as pixels, ``(height density, width density, 3)`` uint8, RGB."""
        size = round(self.width * self.density), round(self.height * self.density)
        canvas = Image.new('RGB', size, (255, 255, 255))
        draw = ImageDraw.Draw(canvas)
        for mark in self.marks:
            if isinstance(mark, Text):
                _write(canvas, draw, mark, self.density)
                continue
            left, top, right, bottom = self._pixels(mark.box)
            if right <= left or bottom <= top:
                continue
            if isinstance(mark, Fill):
                draw.rectangle((left, top, right - 1, bottom - 1), tuple(mark.colour))
                continue
            image = Image.fromarray(np.ascontiguousarray(mark.rgb))
            size = right - left, bottom - top
            canvas.paste(image if image.size == size else image.resize(size, 2), (left, top))
        return np.array(canvas)

    def save(self, path: str | Path) -> None:
        """Write the drawing; the name says what file: .png, .jpg, .pdf or .svg.

        Folders above are made. In .pdf and .svg text and boxes are vectors.

        Raises:
            ValueError: another suffix.
            OSError: the file cannot be written.
        """
        path = Path(path)
        write_atomically(self.encoded(suffix_of(path)), path)

    def encoded(self, suffix: str) -> bytes:
        """The drawing as the bytes of a file of a suffix such as ``'.png'``."""
        if suffix in ('.pdf', '.svg'):
            return vectors(self.marks, self.width, self.height, suffix[1:])
        return pixels(self.array(), suffix)

    def _pixels(self, box: Box) -> tuple[int, int, int, int]:
        left, top, width, height = box
        edges = (left, top, left + width, top + height)
        return tuple(round(edge * self.density) for edge in edges)


def stacked(sheets: Sequence[Sheet], gap: float = 10) -> Sheet:
    """Sheets below each other."""
    height = sum(sheet.height for sheet in sheets) + gap * (len(sheets) - 1)
    whole = Sheet(max(sheet.width for sheet in sheets), height, sheets[0].density)
    top = 0.0
    for sheet in sheets:
        whole.paste(sheet, 0, top)
        top += sheet.height + gap
    return whole


def text_width(text: str, size: float, bold: bool = False) -> float:
    """How long a line is."""
    return font(100, bold).getlength(text) * size / 100


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, the typeface that Matplotlib brings, at ``size`` pixels."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    return ImageFont.truetype(str(folder / name), size)


def _write(canvas: Image.Image, draw: ImageDraw.ImageDraw, mark: Text, density: float) -> None:
    face = font(max(1, round(mark.size * density)), mark.bold)
    x, y, colour = mark.x * density, mark.y * density, tuple(mark.colour)
    if not mark.turned:
        anchor = dict(left='ls', center='ms', right='rs')[mark.align]
        draw.text((round(x), round(y)), mark.text, fill=colour, font=face, anchor=anchor)
        return
    ascent, descent = face.getmetrics()
    length = round(face.getlength(mark.text)) + 2
    line = Image.new('L', (length, ascent + descent), 0)
    ImageDraw.Draw(line).text((1, ascent), mark.text, fill=255, font=face, anchor='ls')
    line = line.transpose(Image.Transpose.ROTATE_90)
    place = round(x - line.width / 2), round(y - line.height / 2)
    canvas.paste(Image.new('RGB', line.size, colour), place, line)
