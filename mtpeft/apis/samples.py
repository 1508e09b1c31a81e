"""From samples with predictions to arrays."""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from mtpeft.structures import MultiTaskDataSample


def arrays_of(sample: MultiTaskDataSample, tasks: Iterable[str]) -> dict[str, np.ndarray]:
    """Predictions by task, ``(H, W)`` or ``(H, W, C)``, in the order of ``tasks``.

    Probabilities of classes, where the sample has them, are called ``'<task>_probabilities'``.

    Example:
        >>> import torch
        >>> sample = MultiTaskDataSample()
        >>> sample.set_pred('depth', torch.ones(1, 2, 3))
        >>> arrays_of(sample, ['depth'])['depth'].shape
        (2, 3)
    """
    found = {}
    for name in tasks:
        if (prediction := sample.get_pred(name)) is not None:
            found[name] = _array(prediction)
        if (chances := sample.get_prob(name)) is not None:
            found[f'{name}_probabilities'] = chances.cpu().numpy().transpose(1, 2, 0)
    return found


def of_one_size(pictures: Sequence[Tensor], divisor: int) -> list[list[int]]:
    """Places of the pictures ``(C, H, W)`` that are padded to one size, for each such size."""
    groups: dict[tuple, list[int]] = {}
    for place, picture in enumerate(pictures):
        padded = tuple(-(-side // divisor) for side in picture.shape[-2:])
        groups.setdefault(padded, []).append(place)
    return list(groups.values())


def _array(prediction: Tensor) -> np.ndarray:
    array = prediction.cpu().numpy()
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
