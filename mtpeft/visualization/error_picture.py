"""Pictures with truth, prediction and error of one task, one below another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from mtpeft.evaluation.details import class_names
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.error_map import ErrorMap, error_map

_WIDTH = 2.6
_NAMES = ('input', 'truth', 'prediction', 'error')
_RIGHT_WRONG = ListedColormap([(0.93, 0.93, 0.93), (0.75, 0.05, 0.05)])


@dataclass(frozen=True)
class Judged:
    """A picture with what was predicted.

    Attributes:
        image: ``(H, W, 3)`` RGB.
        sample: Its labels and predictions.
        title: Such as its name and score.
    """

    image: np.ndarray
    sample: MultiTaskDataSample
    title: str


def draw_errors(
    task: DenseTask, pictures: Sequence[Judged], title: str, draw_input: bool = True
) -> Figure:
    """A row a picture: input, truth, prediction, and the error of each pixel with its scale.

    All rows have one scale of errors. Pixels without a label are grey in the errors. Below stand
    what a picture is called, the range of values, and the classes that are seen.

    Args:
        task: The task.
        pictures: With a label of this task.
        title: Of the figure.
        draw_input: Draw the photographs too.
    """
    errors = [error_map(task, p.sample.gt[task.name], p.sample.pred[task.name]) for p in pictures]
    columns = 3 + draw_input
    shape = pictures[0].image.shape
    height = _WIDTH * shape[0] / shape[1] + 0.32
    figure = Figure(
        figsize=(_WIDTH * columns + 0.7, height * len(pictures) + 0.4), dpi=130,
        layout='constrained',
    )  # fmt: skip
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(pictures), columns, squeeze=False)
    highest = errors[0].highest or _largest(errors)
    for axes, picture, error in zip(grid, pictures, errors, strict=True):
        _row(axes, task, picture, error, highest, draw_input)
    for axes, name in zip(grid[0], _NAMES[not draw_input :], strict=True):
        axes.set_title(name, fontsize=9)
    _key(figure, grid, task, errors[0].what)
    if task.kind == 'classes':
        _legend(figure, task, pictures)
    figure.suptitle(title, fontsize=11)
    return figure


def _row(
    axes: Sequence[Axes], task: DenseTask, picture: Judged, error: ErrorMap, highest: float,
    draw_input: bool,
) -> None:  # fmt: skip
    truth, pred = (_array(data[task.name]) for data in (picture.sample.gt, picture.sample.pred))
    scale = _scale(task, truth)
    shown = [picture.image] if draw_input else []
    shown += [colorize(task, truth, scale), colorize(task, pred, scale)]
    for one, rgb in zip(axes, shown, strict=False):
        one.imshow(rgb, interpolation='nearest')
    colours = _RIGHT_WRONG if task.kind == 'classes' else 'inferno'
    axes[-1].imshow(error.values, cmap=colours, vmin=0, vmax=highest, interpolation='nearest')
    axes[-1].set_facecolor('0.6')
    for one in axes:
        one.set(xticks=[], yticks=[])
    axes[0].set_xlabel(picture.title, fontsize=8, loc='left')
    if scale is not None:
        said = f'{scale[0]:.3g} (yellow) to {scale[1]:.3g} {task.unit} (violet)'
        axes[-2].set_xlabel(said, fontsize=8)


def _largest(errors: Sequence[ErrorMap]) -> float:
    return max(float(np.nanmax(error.values)) for error in errors) or 1.0


def _key(figure: Figure, grid: np.ndarray, task: DenseTask, what: str) -> None:
    """What the colours of errors mean."""
    if task.kind == 'classes':
        return
    bar = figure.colorbar(grid[0, -1].images[0], ax=grid[:, -1], aspect=14 * len(grid))
    bar.set_label(what, fontsize=9)


def _legend(figure: Figure, task: DenseTask, pictures: Sequence[Judged]) -> None:
    """The classes that are in the pictures, and the colour of errors."""
    seen = {
        int(value)
        for picture in pictures for data in (picture.sample.gt, picture.sample.pred)
        for value in data[task.name].unique()
    }  # fmt: skip
    names = class_names(task)
    classes = sorted(value for value in seen if 0 <= value < task.channels)
    colours = colorize(task, np.array([classes]))[0] / 255
    patches = [Patch(color=rgb, label=names[value])
               for rgb, value in zip(colours, classes, strict=True)]  # fmt: skip
    patches.append(Patch(color=_RIGHT_WRONG.colors[1], label='error: wrong class'))
    figure.legend(
        handles=patches, loc='outside lower center', ncols=min(len(patches), 6), fontsize=8,
        frameon=False,
    )  # fmt: skip


def _scale(task: DenseTask, truth: np.ndarray) -> tuple[float, float] | None:
    """The truth's range, so that both have the same colours."""
    if task.kind != 'values':
        return None
    values = truth[task.valid(truth, -1 if truth.ndim == 3 else None)]
    return (float(values.min()), float(values.max())) if values.size else None


def _array(data: Tensor) -> np.ndarray:
    """``(H, W)`` of one channel, else ``(H, W, C)``."""
    array = data.detach().cpu().float().permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array
