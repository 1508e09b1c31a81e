"""Pictures side by side with titles."""

from collections.abc import Sequence

import cv2
import numpy as np

from mtpeft.visualization.text import write

GAP, TITLE = 4, 18


def cell(
    picture: np.ndarray, size: tuple[int, int], title: str = '', photo: bool = False
) -> np.ndarray:
    """``picture`` ``(H, W, 3)`` fitted into ``size`` (height, width), below a line of title.

    The proportions are kept; the rest is white. A photograph is enlarged smoothly; pixels of other
    pictures stay squares of one colour, mixed only where a border falls between two pixels.

    Example:
        >>> cell(np.zeros((10, 20, 3), np.uint8), (30, 40), 'depth').shape
        (48, 40, 3)
    """
    height, width = size
    scale = min(height / picture.shape[0], width / picture.shape[1])
    fitted = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    canvas = np.full((height + TITLE, width, 3), 255, np.uint8)
    canvas[TITLE : TITLE + fitted[1], : fitted[0]] = _resized(picture, fitted, photo)
    if title:
        write(canvas, title, 1, 1, width=width - 2)
    return canvas


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of pictures of one height each, as one picture; short rows are filled with white."""
    lines = [_beside(row) for row in rows]
    width = max(line.shape[1] for line in lines)
    padded = [
        np.pad(line, ((0, GAP), (0, width - line.shape[1]), (0, 0)), constant_values=255)
        for line in lines
    ]
    return np.concatenate(padded)


def _resized(picture: np.ndarray, size: tuple[int, int], photo: bool) -> np.ndarray:
    """``picture`` at ``size`` (width, height)."""
    width, height = size
    if photo and width > picture.shape[1]:
        return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    whole = max(-(-width // picture.shape[1]), -(-height // picture.shape[0]))
    large = picture.repeat(whole, 0).repeat(whole, 1)
    return cv2.resize(large, size, interpolation=cv2.INTER_AREA)


def _beside(row: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((row[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in row for part in (picture, gap)], axis=1)
