"""Draws a picture with the labels and predictions of all its tasks."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.visualization import Visualizer
from torch import Tensor

from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima
from mtpeft.registry import VISUALIZERS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.kinds import Size
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.grid import cell, grid
from mtpeft.visualization.legend import legend


@VISUALIZERS.register_module()
class MultiTaskVisualizer(Visualizer):
    """Draws the input, and below or beside it each task's ground truth and prediction.

    Predicted lines are thinned as they are before they are judged
    (:func:`~mtpeft.evaluation.functional.edge_nms.suppress_non_maxima`).

    Args:
        name: Name of the instance.
        tasks: The tasks to draw. ``None``: set later, by the model (:class:`PredictionGridHook`
            does) or in ``tasks``.
        height: Height of one picture in the drawing, in pixels.
        draw_input: Draw the input too. ``False`` leaves the photograph out, for data whose
            pictures must not be passed on.
        **kwargs: Options of MMEngine's ``Visualizer``: ``vis_backends``, ``save_dir``, ...

    Example:
        >>> import torch
        >>> sample = MultiTaskDataSample()
        >>> sample.set_pred('sal', torch.ones(1, 8, 8))
        >>> visualizer = MultiTaskVisualizer(tasks=['sal'], height=32)
        >>> visualizer.draw(np.zeros((8, 8, 3), np.uint8), sample).shape
        (54, 104, 3)
    """

    def __init__(
        self,
        name: str = 'visualizer',
        tasks: TaskSpec | None = None,
        height: Size = 192,
        draw_input: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        self.tasks: dict[str, DenseTask] = build_tasks(tasks) if tasks else {}
        self.height = height
        self.draw_input = draw_input

    def draw(self, image: np.ndarray, sample: MultiTaskDataSample) -> np.ndarray:
        """One picture with everything ``sample`` holds.

        Args:
            image: ``(H, W, 3)`` uint8, RGB; only its shape counts where ``draw_input`` is False.
            sample: Labels, predictions, or both.

        Returns:
            ``(H', W', 3)`` uint8, RGB: the input with the ground truth beside it, the predictions
            in a second row where there is ground truth, else in the first. What the colours mean
            stands below the input, or at the end of the first row, where a picture is 120 pixels
            large or more. Without an input and without anything in ``sample``, one white picture.
        """
        truth, pred = sample.gt, sample.pred
        size = self.height, max(48, round(self.height * image.shape[1] / image.shape[0]))
        ranges = {name: _range(task, truth.get(name), pred.get(name))
                  for name, task in self.tasks.items()}  # fmt: skip
        names = [name for name in self.tasks if name in truth or name in pred]
        rows = [
            [cell(_colours(self.tasks[name], data[name], kind, ranges[name]), size,
                  f'{name.replace("_", " ")}: {kind}')
             if name in data else cell(_blank(), size) for name in names]
            for kind, data in (('truth', truth), ('prediction', pred)) if data
        ]  # fmt: skip
        rows = rows or [[]]
        seen = {name: _array((truth if name in truth else pred)[name]) for name in names}
        key = legend(self.tasks, seen, ranges, size)
        if self.draw_input:
            below = cell(_blank(), size) if key is None else key
            starts = [cell(image, size, 'input', photo=True), below]
            rows = [[start, *row] for start, row in zip(starts, rows, strict=False)]
        if key is not None and not (self.draw_input and len(rows) > 1):
            rows[0].append(key)
        return grid([row or [cell(_blank(), size)] for row in rows])

    def draw_all(self, images: list[np.ndarray], samples: list[MultiTaskDataSample]) -> np.ndarray:
        """Several pictures below each other."""
        drawn = [self.draw(image, sample) for image, sample in zip(images, samples, strict=True)]
        return grid([[picture] for picture in drawn])

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: MultiTaskDataSample,
        step: int = 0,
        out_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Draw and pass the drawing to the backends, or write it to ``out_file`` (PNG)."""
        drawn = self.draw(image, data_sample)
        self.set_image(drawn)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            write_picture(out_file, drawn)


def photograph(picture: Tensor) -> np.ndarray:
    """What can be shown of a picture ``(C, H, W)``, BGR and further channels, as ``(H, W, 3)`` RGB.

    That is its first three channels, or the first alone as grey. Values outside of 0 to 255, or
    within 0 and 1, are stretched over the range that can be shown.
    """
    array = picture.detach().cpu().numpy()
    shown = array[:3][::-1] if len(array) >= 3 else array[:1].repeat(3, 0)
    if shown.dtype != np.uint8:
        low, high = float(shown.min()), float(shown.max())
        if low < 0 or high > 255 or high <= 1:
            shown = (shown - low) / max(high - low, 1e-9) * 255
        shown = np.rint(shown).astype(np.uint8)
    return np.ascontiguousarray(shown.transpose(1, 2, 0))


def write_picture(path: str | Path, rgb: np.ndarray) -> None:
    """Write ``(H, W, 3)`` RGB, the folder made if need be.

    Raises:
        OSError: the picture could not be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise OSError(f'Could not write the picture {path}.')


def _range(
    task: DenseTask, truth: Tensor | None, pred: Tensor | None
) -> tuple[float, float] | None:  # fmt: skip
    """The values' range, of the truth if there is any, so that both have the same colours."""
    if task.kind != 'values':
        return None
    data = pred if truth is None else truth
    if data is None:
        return None
    values = data[task.valid(data)]
    return (float(values.min()), float(values.max())) if values.numel() else None


def _array(data: Tensor) -> np.ndarray:
    """``(H, W)`` of one channel, else ``(H, W, C)``."""
    array = data.detach().cpu().float().permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def _colours(
    task: DenseTask, data: Tensor, kind: str, value_range: tuple[float, float] | None
) -> np.ndarray:  # fmt: skip
    array = _array(data)
    if task.lines and kind == 'prediction':
        array = suppress_non_maxima(array)
    return colorize(task, array, value_range)


def _blank() -> np.ndarray:
    return np.full((1, 1, 3), 255, np.uint8)
