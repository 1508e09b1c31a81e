"""Feature levels, shared by the tasks or one stream a task."""

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.utils.suggest import hint

Levels = Sequence[Tensor]
Features = Levels | Mapping[str, Levels]


def by_task(features: Features, tasks: Iterable[str]) -> dict[str, Levels]:
    """``{task: levels}`` in the order of ``tasks``; a plain tuple is shared by all of them.

    Raises:
        KeyError: there is no stream for a task.
    """
    if not isinstance(features, Mapping):
        return {name: features for name in tasks}
    for name in tasks:
        if name not in features:
            raise KeyError(
                f"There are no features for task '{name}': its stream is missing from the "
                f"backbone's `tasks`. " + hint(name, features)
            )
    return {name: features[name] for name in tasks}


def concatenate(levels: Levels, widths: Sequence[int]) -> Tensor:
    """Levels ``(B, C_i, h_i, w_i)`` at the size of the largest, on the channel axis.

    Raises:
        ValueError: their number is not that of ``widths``.
    """
    if len(levels) != len(widths):
        raise ValueError(
            f'Expected {len(widths)} levels of widths {tuple(widths)}, got {len(levels)}.'
        )
    size = max((level.shape[-2:] for level in levels), key=lambda s: s[0] * s[1])
    return torch.cat([resize(level, size) for level in levels], dim=1)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` ``(B, C, h, w)`` brought to ``size`` (H, W) bilinearly, ``align_corners`` off."""
    size = tuple(size)
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)
