"""Draws a picture with the labels and predictions of all its tasks."""

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import Visualizer
from torch import Tensor

from mtpeft.registry import VISUALIZERS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.atomic import write_atomically
from mtpeft.utils.kinds import Size
from mtpeft.visualization.comparison import TRUTH, draw_comparison
from mtpeft.visualization.formats import pixels, suffix_of
from mtpeft.visualization.panels import with_margin
from mtpeft.visualization.sheet import Sheet, stacked


@VISUALIZERS.register_module()
class MultiTaskVisualizer(Visualizer):
    """Draws the input, each task's ground truth beside it, and the predictions below that.

    Class maps are laid over the photograph. Predicted lines are thinned as they are before they
    are judged (:func:`~mtpeft.evaluation.functional.edge_nms.suppress_non_maxima`).

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
        (61, 184, 3)
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
            ``(H', W', 3)`` uint8, RGB, see :meth:`sheet`.
        """
        return self.sheet([image], [sample]).array()

    def draw_all(self, images: list[np.ndarray], samples: list[MultiTaskDataSample]) -> np.ndarray:
        """Several pictures below each other."""
        return self.sheet(images, samples).array()

    def sheet(
        self, images: list[np.ndarray], samples: list[MultiTaskDataSample], density: float = 1.0
    ) -> Sheet:
        """Pictures below each other, each input with the labels and predictions of its tasks.

        Predictions stand below the labels; below the input stands what the colours mean.

        Args:
            images: ``(H, W, 3)`` uint8, RGB.
            samples: Labels, predictions, or both.
            density: Pixels a unit of ``height``.

        Returns:
            The drawing, to be written as .png, .jpg, .pdf or .svg
            (:meth:`~mtpeft.visualization.sheet.Sheet.save`).
        """
        parts, before = [], None
        for image, sample in zip(images, samples, strict=True):
            rows = {
                label: {name: array_of(data[name]) for name in self.tasks if name in data}
                for label, data in ((TRUTH, sample.gt), ('prediction', sample.pred)) if data
            }  # fmt: skip
            # columns that are named above are not named again
            columns = image.shape[:2], [*map(sorted, rows.values())]
            parts.append(draw_comparison(self.tasks, image, rows, self.height, self.draw_input,
                                         columns != before, density))  # fmt: skip
            before = columns
        return with_margin(stacked(parts))

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: MultiTaskDataSample,
        step: int = 0,
        out_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Draw and pass the drawing to the backends, or write it to ``out_file``."""
        sheet = self.sheet([image], [data_sample])
        drawn = sheet.array()
        self.set_image(drawn)
        if out_file is None:
            self.add_image(name, drawn, step)
        else:
            sheet.save(out_file)


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
    """Write ``(H, W, 3)`` RGB as .png or .jpg, the folder made if need be.

    Raises:
        ValueError: another suffix.
        OSError: the picture could not be written.
    """
    write_atomically(pixels(rgb, suffix_of(path)), path)


def array_of(data: Tensor) -> np.ndarray:
    """``(H, W)`` of one channel, else ``(H, W, C)``."""
    array = data.detach().cpu().float().permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array
