"""Feature levels, shared by the tasks or one stream a task."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.utils.exporting import exported, surely_equal
from mtpeft.utils.suggest import hint


class Unreduced(NamedTuple):
    """A level before its last linear map, for who maps it on and can join the two maps.

    What a patch merging makes of a stream is read by a narrow projection only: with both weights
    multiplied first, the wide map is never made, forward and backward.

    Attributes:
        rows: ``(B, h, w, k)``.
        weight: ``(C, k)``; the level is ``rows @ weight.T``, as ``(B, C, h, w)``.
    """

    rows: Tensor
    weight: Tensor

    def projected(
        self, weight: Tensor, kept: Callable[[Callable[[], Tensor]], Tensor] | None = None
    ) -> Tensor:
        """The level passed through a 1x1 convolution without bias, ``weight`` ``(c, C, 1, 1)``.

        As one map or as two, whichever takes fewer operations.

        Args:
            weight: Of the convolution.
            kept: Gives what a function makes, or what it made before; for the joined weight.
        """
        weight = weight.flatten(1)
        (narrow, wide), inner = weight.shape, self.weight.shape[1]
        number = self.rows.numel() // inner
        # (an exported graph is for any number of rows; the joined weight is a constant there)
        if exported() or narrow * inner * (wide + number) < number * wide * (inner + narrow):
            joined = self._joined(weight) if kept is None else kept(lambda: self._joined(weight))
            out = F.linear(self.rows, joined)
        else:
            out = F.linear(F.linear(self.rows, self.weight), weight)
        return out.permute(0, 3, 1, 2).contiguous()

    def _joined(self, weight: Tensor) -> Tensor:
        # small, and rounded once: not in autocast's half precision
        with torch.autocast(weight.device.type, enabled=False):
            return weight @ self.weight.to(weight.dtype)


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
    check_levels(levels, widths)
    size = largest(levels)
    return torch.cat([resize(level, size) for level in levels], dim=1)


def check_levels(levels: Levels, widths: Sequence[int]) -> None:
    """Raises ``ValueError`` where the number of levels is not that of ``widths``."""
    if len(levels) != len(widths):
        raise ValueError(
            f'Expected {len(widths)} levels of widths {tuple(widths)}, got {len(levels)}.'
        )


def apart(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """What lies behind one another on the batch axis, ``(count B, ...)``, as ``count`` tensors.

    As ``x.chunk(count)``, which a graph of any B cannot have.

    Example:
        >>> [part.tolist() for part in apart(torch.arange(6), 3)]
        [[0, 1], [2, 3], [4, 5]]
    """
    return x.unflatten(0, (count, -1)).unbind()


def largest(levels: Levels) -> tuple[int, int]:
    """(h, w) of the largest level."""
    return tuple(max((level.shape[-2:] for level in levels), key=lambda s: s[0] * s[1]))


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """``x`` ``(B, C, h, w)`` brought to ``size`` (H, W) bilinearly, ``align_corners`` off."""
    size = tuple(size)
    if all(map(surely_equal, x.shape[-2:], size)):
        return x
    return F.interpolate(x, size=size, mode='bilinear', align_corners=False)
