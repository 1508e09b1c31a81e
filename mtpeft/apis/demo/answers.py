"""What the page shows of a picture: its maps and what their colours mean."""

import time
from dataclasses import dataclass

import cv2
import numpy as np

from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.tasks import DenseTask
from mtpeft.visualization.html_key import html_key
from mtpeft.visualization.key import value_extremes
from mtpeft.visualization.panels import map_colours

LONGEST = 1280


@dataclass(frozen=True)
class Shown:
    """One map.

    Attributes:
        colours: ``(H, W, 3)`` uint8, RGB.
        key: What they mean, as HTML.
    """

    colours: np.ndarray
    key: str


def reduced(rgb: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """A picture ``(H, W, 3)`` whose longer side has at most ``longest`` pixels.

    Example:
        >>> reduced(np.zeros((6000, 8000, 3), np.uint8)).shape
        (960, 1280, 3)
    """
    scale = longest / max(rgb.shape[:2])
    if scale >= 1:
        return rgb
    size = [max(1, round(side * scale)) for side in rgb.shape[1::-1]]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def answer(
    predict: MultiTaskInferencer, rgb: np.ndarray, tasks: list[str]
) -> tuple[dict[str, Shown], str]:
    """Maps of the tasks that a model has, and a line that says how long it took."""
    wanted = [name for name in predict.tasks if name in tasks]
    if not wanted:
        return {}, 'none of these tasks'
    start = time.perf_counter()
    maps = predict(np.ascontiguousarray(rgb[..., ::-1]), tasks=wanted)
    seconds = time.perf_counter() - start
    shown = {name: _shown(predict.model.tasks[name], maps[name]) for name in wanted}
    device = next(predict.model.parameters()).device.type.upper()
    height, width = rgb.shape[:2]
    return shown, f'{width} x {height} pixels, {seconds:.2f} s on {device}'


def _shown(task: DenseTask, array: np.ndarray) -> Shown:
    ends = value_extremes(task, array) if task.kind == 'values' else None
    return Shown(map_colours(task, array, ends), html_key(task, array, ends))
