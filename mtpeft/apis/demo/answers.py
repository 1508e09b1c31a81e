"""What the page shows of a picture: its maps and what their colours mean."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtpeft.apis.inferencer import MultiTaskInferencer
from mtpeft.tasks import DenseTask
from mtpeft.visualization.fitted import value_extremes
from mtpeft.visualization.html_key import html_key
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


def predicted(
    predict: MultiTaskInferencer, rgb: np.ndarray, tasks: Sequence[str]
) -> tuple[dict[str, np.ndarray], str]:
    """Maps of the tasks that a model has, and a line that says how long it took."""
    wanted = [name for name in predict.tasks if name in tasks]
    if not wanted:
        return {}, 'none of these tasks'
    start = time.perf_counter()
    maps = predict(np.ascontiguousarray(rgb[..., ::-1]), tasks=wanted)
    seconds = time.perf_counter() - start
    device = next(predict.model.parameters()).device.type.upper()
    height, width = rgb.shape[:2]
    return maps, f'{width} x {height} pixels, {seconds:.2f} s on {device}'


def shown(tasks: Sequence[DenseTask], maps: Sequence[np.ndarray]) -> list[Shown]:
    """Maps of one task by several models, in the same colours."""
    ends = None
    pairs = list(zip(tasks, maps, strict=True))
    if pairs and tasks[0].kind == 'values':
        lows, highs = zip(*[value_extremes(task, array) for task, array in pairs], strict=True)
        ends = min(lows), max(highs)
    return [
        Shown(map_colours(task, array, ends), html_key(task, array, ends)) for task, array in pairs
    ]
