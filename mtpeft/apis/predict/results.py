"""What is written of one picture or frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mtpeft.apis.predict.maps import Form, describe, encode, suffix_of
from mtpeft.tasks import DenseTask
from mtpeft.visualization.comparison import draw_comparison
from mtpeft.visualization.fitted import value_extremes
from mtpeft.visualization.panels import draw_panels, panel, panel_size, with_margin
from mtpeft.visualization.sheet import Sheet

Save = Literal['maps', 'drawings', 'both']
Drawings = Literal['together', 'apart']
Figure = Literal['png', 'jpg', 'pdf', 'svg']
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
        figure: Files of drawings of pictures; pdf and svg have text and boxes as vectors.
    """

    tasks: Mapping[str, DenseTask]
    save: Save = 'both'
    form: Form = 'png'
    drawings: Drawings = 'together'
    height: int | None = None
    figure: Figure = 'png'

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

    def drawing_names(self, name: str, suffix: str | None = None) -> dict[str, str]:
        """Files of the drawings of an input; the one of all tasks has the key ``''``."""
        if not self.drawn:
            return {}
        suffix = suffix or f'.{self.figure}'
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
        self, image: np.ndarray, answer: Answer, ranges: Ranges | None = None,
        compared: Mapping[str, Answer] | None = None,
    ) -> dict[str, Sheet]:  # fmt: skip
        """Drawings of a picture ``(H, W, C)``, BGR, by the keys of :meth:`drawing_names`.

        With ``compared``, answers of several models by their names, a row each is drawn.
        """
        if not self.drawn:
            return {}
        density = 2.0 if self.figure in ('pdf', 'svg') else 1.0
        if compared:
            height = self.height or 192
            sheet = draw_comparison(self.tasks, shown(image), compared, height, density=density)
            return {'': with_margin(sheet)}
        if self.drawings == 'together':
            rgb = shown(image)
            height = self.height or 240
            return {'': draw_panels(self.tasks, rgb, answer, height, ranges, density)}
        height = self.height or int(np.clip(image.shape[0], 240, _LARGEST))
        size = panel_size(image.shape, height)
        ranges = ranges or {}
        return {
            name: with_margin(
                panel(task, answer[name], size, ranges.get(name), shown(image), density)
            )
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
