"""Pictures side by side with titles."""

from collections.abc import Sequence

import cv2
import numpy as np

_GAP, _TITLE = 4, 18
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def cell(picture: np.ndarray, size: tuple[int, int], title: str = '') -> np.ndarray:
    """``picture`` ``(H, W, 3)`` fitted into ``size`` (height, width), below a line of title.

    The proportions are kept; the rest is white.

    Example:
        >>> cell(np.zeros((10, 20, 3), np.uint8), (30, 40), 'depth').shape
        (48, 40, 3)
    """
    height, width = size
    scale = min(height / picture.shape[0], width / picture.shape[1])
    fitted = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    # class colours must not mix; a photograph that shrinks should be averaged
    method = cv2.INTER_AREA if scale < 1 and not title.endswith(('truth', 'prediction')) else (
        cv2.INTER_NEAREST
    )  # fmt: skip
    canvas = np.full((height + _TITLE, width, 3), 255, np.uint8)
    small = cv2.resize(picture, fitted, interpolation=method)
    canvas[_TITLE : _TITLE + fitted[1], : fitted[0]] = small
    if title:
        font = 0.4
        text_width = cv2.getTextSize(title, _FONT, font, 1)[0][0]
        font *= min(1.0, (width - 2) / max(text_width, 1))
        cv2.putText(canvas, title, (1, _TITLE - 5), _FONT, font, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def grid(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of pictures of one height each, as one picture; short rows are filled with white."""
    lines = [_beside(row) for row in rows]
    width = max(line.shape[1] for line in lines)
    padded = [
        np.pad(line, ((0, _GAP), (0, width - line.shape[1]), (0, 0)), constant_values=255)
        for line in lines
    ]
    return np.concatenate(padded)


def _beside(row: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((row[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in row for part in (picture, gap)], axis=1)
