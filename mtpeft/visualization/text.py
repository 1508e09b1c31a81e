"""Text in pictures, in the typeface that Matplotlib brings."""

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_DARK = (30, 30, 30)


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    folder = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
    return ImageFont.truetype(str(folder / name), size)


def write(
    canvas: np.ndarray,
    text: str,
    left: int,
    top: int,
    size: int = 13,
    width: int | None = None,
    bold: bool = False,
) -> None:
    """Write a line into ``canvas`` ``(H, W, 3)`` uint8, in place.

    Args:
        canvas: RGB.
        text: One line.
        left, top: Corner of the line, in pixels.
        size: Height of the type, in pixels.
        width: Room for the line: the type is made smaller until it fits, down to 6 pixels.
        bold: In bold type.

    Example:
        >>> canvas = np.full((20, 60, 3), 255, np.uint8)
        >>> write(canvas, 'depth', 2, 2)
        >>> bool(canvas.min() < 128)
        True
    """
    while width is not None and size > 6 and font(size, bold).getlength(text) > width:
        size -= 1
    picture = Image.fromarray(canvas)
    ImageDraw.Draw(picture).text((left, top), text, fill=_DARK, font=font(size, bold))
    canvas[...] = np.asarray(picture)
