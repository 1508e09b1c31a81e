"""Maps brought to another size strip by strip, so that a large one is never whole in memory."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.structures.levels import resize

LIMIT = 2**24
"""Numbers that a map may have and still be made in one piece."""


class Resizing:
    """A map that comes in strips, brought to another size bilinearly, in strips.

    Equal to :func:`mtpeft.structures.levels.resize` of the whole map (``align_corners`` off), but
    for rounding.

    Args:
        source: Height and width of the map.
        target: Those of the result.
        limit: Numbers of the larger map below which it is made in one piece; beyond, about a
            quarter as many are in a strip, since several strips are held at a time.

    Example:
        >>> x, resizing = torch.arange(4.0).view(1, 1, 2, 2), Resizing((2, 2), (4, 2), limit=2)
        >>> rows = [row for strip in x.split(1, 2) for row in resizing.push(strip)]
        >>> torch.cat(rows, 2)[0, 0, :, 0]
        tensor([0.0000, 0.5000, 1.5000, 2.0000])
    """

    def __init__(
        self, source: tuple[int, int], target: tuple[int, int], limit: int = LIMIT
    ) -> None:
        self.source, self.target, self.limit = source, target, limit
        self._pending: Tensor | None = None  # rows of the source from `_at` on
        self._at = 0
        self._made = 0  # rows of the result

    def push(self, strip: Tensor) -> Iterator[Tensor]:
        """Take the next rows ``(B, C, n, w)``; give the rows of the result that they allow."""
        row = strip.shape[0] * strip.shape[1] * max(self.source[1], self.target[1])
        in_one = row * max(self.source[0], self.target[0]) <= self.limit
        if not in_one and strip.shape[3] != self.target[1]:
            # only the width changes here: a row of the result is one of the strip
            size = (strip.shape[2], self.target[1])
            strip = F.interpolate(strip, size=size, mode='bilinear', align_corners=False)
        before = self._pending
        self._pending = strip if before is None else torch.cat([before, strip], dim=2)
        if not in_one:
            yield from self._rows(max(1, self.limit // 4 // row))
        elif self._pending.shape[2] == self.source[0]:
            yield resize(self._pending, self.target)

    def _rows(self, most: int) -> Iterator[Tensor]:
        while self._made < self.target[0]:
            number = min(most, self.target[0] - self._made)
            above, below, share = _neighbours(self._made, number, self.source[0], self.target[0])
            if self._at + self._pending.shape[2] <= below[-1]:
                return
            self._pending, self._at = self._pending[:, :, int(above[0]) - self._at :], int(above[0])
            self._made += number
            if self.source[0] == self.target[0]:
                yield self._pending[:, :, :number]
                continue
            above, below = (rows.to(self._pending.device) - self._at for rows in (above, below))
            share = share.to(self._pending).view(-1, 1)
            upper, lower = self._pending[:, :, above], self._pending[:, :, below]
            yield (1 - share) * upper + share * lower


def _neighbours(
    top: int, number: int, source: int, target: int
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The rows of the source above and below each row of the result, and the share of the lower.

    In float32 and by the formula of torch, so that results agree.
    """
    if source == target:
        rows = torch.arange(top, top + number)
        return rows, rows, torch.zeros(number)
    scale = torch.tensor(source, dtype=torch.float32) / target
    at = (scale * (torch.arange(top, top + number, dtype=torch.float32) + 0.5) - 0.5).clamp_min(0)
    above = at.long().clamp_max(source - 1)
    return above, (above + 1).clamp_max(source - 1), at - above
