"""Drawings as files: .png and .jpg as pixels, .pdf and .svg as vectors."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mtpeft.utils.suggest import hint
from mtpeft.visualization.marks import Mark, Picture, Text

SUFFIXES = ('.png', '.jpg', '.jpeg', '.pdf', '.svg')
_DPI = 96


def suffix_of(path: str | Path) -> str:
    """The suffix of a drawing's file, in small letters.

    Raises:
        ValueError: no drawing can be written into such a file.

    Example:
        >>> suffix_of('Grid.PDF')
        '.pdf'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f'{path}: expected the name of a drawing to end with one of {", ".join(SUFFIXES)}, '
            f'got {suffix!r}. {hint(suffix, SUFFIXES)}'
        )
    return suffix


def pixels(rgb: np.ndarray, suffix: str = '.png', quality: int = 92) -> bytes:
    """``(H, W, 3)`` uint8, RGB, as the bytes of a .png or .jpg."""
    buffer = io.BytesIO()
    image = Image.fromarray(rgb)
    if suffix == '.png':
        image.save(buffer, 'PNG')
    else:
        image.save(buffer, 'JPEG', quality=quality, subsampling=0)
    return buffer.getvalue()


def vectors(marks: Sequence[Mark], width: float, height: float, kind: str) -> bytes:
    """A drawing as the bytes of a ``'pdf'`` or ``'svg'``."""
    # imported here: a run that draws pixels need not wait for it
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    for order, mark in enumerate(marks):
        if isinstance(mark, Text):
            _text(axes, mark, order)
            continue
        left, top, wide, high = mark.box
        if isinstance(mark, Picture):
            axes.imshow(mark.rgb, extent=(left, left + wide, top + high, top), aspect='auto',
                        interpolation='none', zorder=order)  # fmt: skip
        else:
            colour = np.divide(mark.colour, 255)
            axes.add_patch(Rectangle((left, top), wide, high, color=colour, linewidth=0,
                                     zorder=order))  # fmt: skip
    buffer = io.BytesIO()
    # text as text (TrueType in a PDF), the same bytes for the same drawing
    options = {'pdf.fonttype': 42, 'svg.hashsalt': 'mtpeft', 'font.family': 'DejaVu Sans'}
    date = {'CreationDate': None} if kind == 'pdf' else {'Date': None}
    with matplotlib.rc_context(options):
        figure.savefig(buffer, format=kind, metadata=date)
    return buffer.getvalue()


def _text(axes: Any, mark: Text, order: int) -> None:
    place = dict(ha='center', va='center', rotation=90) if mark.turned else dict(
        ha=mark.align, va='baseline'
    )  # fmt: skip
    # (a dollar sign would start mathematics)
    axes.text(mark.x, mark.y, mark.text.replace('$', r'\$'), fontsize=mark.size * 72 / _DPI,
              fontweight='bold' if mark.bold else 'normal', color=np.divide(mark.colour, 255),
              family='DejaVu Sans', zorder=order, **place)  # fmt: skip
