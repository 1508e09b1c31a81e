"""What is written of one picture or frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from mtpeft.apis.predict.maps import Form, describe, encode, suffix_of
from mtpeft.tasks import DenseTask
from mtpeft.visualization.key import value_extremes
from mtpeft.visualization.panels import draw_panels, panel, panel_size, with_margin

Save = Literal['maps', 'drawings', 'both']
Drawings = Literal['together', 'apart']
Ranges = dict[str, tuple[float, float]]
Answer = Mapping[str, np.ndarray]
_LARGEST = 1200  # pixels in height of a map that is drawn alone


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each input.

    Args:
        tasks: The tasks by name.
        save: Maps, drawings, or both.
        form: Files of maps.
        drawings: One drawing of all maps, or one a task.
        height: Height of a map in a drawing, in pixels; ``None``: 240 together, apart that of the
            picture within 240 and 1200.
    """

    tasks: Mapping[str, DenseTask]
    save: Save = 'both'
    form: Form = 'png'
    drawings: Drawings = 'together'
    height: int | None = None

    @property
    def maps(self) -> bool:
        """Are maps wanted?"""
        return self.save in ('maps', 'both')

    @property
    def drawn(self) -> bool:
        """Are drawings wanted?"""
        return self.save in ('drawings', 'both')

    def map_names(self, name: str) -> dict[str, str]:
        """Files of the maps of a picture, by task."""
        if not self.maps:
            return {}
        return {
            task: f'maps/{task}/{name}{suffix_of(spec, self.form)}'
            for task, spec in self.tasks.items()
        }

    def drawing_names(self, name: str, suffix: str = '.png') -> dict[str, str]:
        """Files of the drawings of an input; the one of all tasks has the key ``''``."""
        if not self.drawn:
            return {}
        if self.drawings == 'together':
            return {'': f'drawings/{name}{suffix}'}
        return {task: f'drawings/{task}/{name}{suffix}' for task in self.tasks}

    def describe(self) -> dict[str, Any]:
        """How the maps of each task are read."""
        return {name: describe(task, self.form) for name, task in self.tasks.items()}

    def encoded(
        self, name: str, answer: Answer
    ) -> tuple[dict[str, bytes], dict[str, dict]]:  # fmt: skip
        """Files of the maps of a picture, and how those are read that differ from their task."""
        files, readings = {}, {}
        for task, file in self.map_names(name).items():
            data, reading = encode(self.tasks[task], answer[task], self.form)
            files[file] = data
            if reading:
                readings[task] = reading
        return files, readings

    def draw(
        self, image: np.ndarray, answer: Answer, ranges: Ranges | None = None
    ) -> dict[str, np.ndarray]:
        """Drawings of a picture ``(H, W, C)``, BGR, by the keys of :meth:`drawing_names`, RGB."""
        if not self.drawn:
            return {}
        if self.drawings == 'together':
            rgb = shown(image)
            return {'': draw_panels(self.tasks, rgb, answer, self.height or 240, ranges)}
        height = self.height or int(np.clip(image.shape[0], 240, _LARGEST))
        size = panel_size(image.shape, height)
        ranges = ranges or {}
        return {
            name: with_margin(panel(task, answer[name], size, ranges.get(name)))
            for name, task in self.tasks.items()
        }

    def widened(self, ranges: Ranges, answers: Sequence[Answer]) -> None:
        """Let ``ranges`` hold the values of further frames too: colours that never jump back."""
        for name, task in self.tasks.items():
            for answer in answers if task.kind == 'values' else ():
                low, high = value_extremes(task, answer[name])
                before = ranges.get(name, (low, high))
                ranges[name] = min(low, before[0]), max(high, before[1])


def shown(image: np.ndarray) -> np.ndarray:
    """What can be shown of a picture ``(H, W, C)``, BGR: ``(H, W, 3)`` uint8, RGB."""
    array = image[..., 2::-1] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    return np.rint((array - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


def png(rgb: np.ndarray) -> bytes:
    """A drawing ``(H, W, 3)``, RGB, as a file."""
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
