"""Where a prediction is wrong, and by how much."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mtpeft.evaluation.functional.normals import angles_deg
from mtpeft.tasks import DenseTask


@dataclass(frozen=True)
class ErrorMap:
    """The error of each pixel.

    Attributes:
        values: ``(H, W)``, NaN where the label is not valid.
        what: What the values are, with their unit.
        highest: The end of the scale; ``None``: the largest error of the picture.
    """

    values: np.ndarray
    what: str
    highest: float | None = None


def error_map(task: DenseTask, truth: Tensor, pred: Tensor) -> ErrorMap:
    """Compare a prediction with its label.

    Classes: 1 where they differ. Binary: ``|p - y|``. Values: the mean of ``|d - d*|`` over
    channels, in the task's unit. Vectors: the angle between both in degrees.

    Args:
        task: The task.
        truth: Label ``(C, H, W)``.
        pred: Prediction of the same size, on a CPU as the label.

    Example:
        >>> import torch
        >>> from mtpeft.tasks import build_tasks
        >>> task = build_tasks(['depth'])['depth']
        >>> error_map(task, torch.tensor([[[2., 0.]]]), torch.tensor([[[2.5, 9.]]])).values
        array([[0.5, nan]])
    """
    valid = task.valid(truth, channel_axis=0).numpy()
    if task.kind == 'classes':
        error, what, highest = (truth != pred)[0].double(), 'wrong class', 1.0
    elif task.kind == 'vectors':
        angle = angles_deg(pred.flatten(1), truth.flatten(1))
        error, what, highest = angle.view(truth.shape[1:]), 'angle (deg)', None
    elif task.kind == 'binary':
        error, what, highest = (pred.double() - truth.double()).abs()[0], '|p - y|', 1.0
    else:
        error = (pred.double() - truth.double()).abs().mean(0)
        what, highest = 'absolute error' + (f' ({task.unit})' if task.unit else ''), None
    return ErrorMap(np.where(valid, error.numpy(), np.nan), what, highest)
