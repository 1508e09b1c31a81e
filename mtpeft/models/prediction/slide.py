"""A picture passed through a network in windows."""

from collections.abc import Callable, Iterator
from typing import Literal, TypedDict

import torch
from torch import Tensor

from mtpeft.utils.kinds import Count


class TestCfg(TypedDict, total=False):
    """``test_cfg`` of a model, the names of mmsegmentation.

    ``mode='whole'`` (default): the picture in one pass. ``'slide'``: windows of ``crop_size``
    (height, width), a ``stride`` apart (default: two thirds of a window), ``batch_size`` of them in
    a pass (default: 1). What lies in several windows is averaged.
    """

    mode: Literal['whole', 'slide']
    crop_size: tuple[Count, Count]
    stride: tuple[Count, Count]
    batch_size: Count


def windows(
    picture: Tensor,
    crop: tuple[int, int],
    stride: tuple[int, int],
    run: Callable[[Tensor], dict[str, Tensor]],
    batch_size: int = 1,
) -> Iterator[dict[str, Tensor]]:
    """The mean over all windows of what a network makes of them, in strips from top to bottom.

    Windows lie ``stride`` apart; the last of a row or column ends at the border. No more than one
    row of windows is held.

    Args:
        picture: ``(1, 3, H, W)``.
        crop: Height and width of a window; a smaller picture has smaller windows.
        stride: From one window to the next, at most ``crop``.
        run: Maps ``(n, C, h, w)`` by name, of windows ``(n, 3, h, w)``.
        batch_size: Windows in a pass.

    Yields:
        Strips ``(1, C, n, W)`` by name.

    Example:
        >>> x = torch.arange(15.0).view(1, 1, 3, 5)
        >>> strips = windows(x, (2, 2), (1, 2), lambda w: dict(same=w))
        >>> torch.equal(torch.cat([strip['same'] for strip in strips], 2), x)
        True
    """
    height, width = picture.shape[-2:]
    crop = min(crop[0], height), min(crop[1], width)
    tops, lefts = starts(height, crop[0], stride[0]), starts(width, crop[1], stride[1])
    down = counts(height, crop[0], tops).to(picture.device)
    across = counts(width, crop[1], lefts).to(picture.device)
    open_rows: dict[str, Tensor] = {}
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        band = picture[..., top : top + crop[0], :]
        strips = {}
        for name, rows in _sums(band, crop[1], lefts, run, batch_size).items():
            rows = rows / across
            if name in open_rows:
                rows[..., : open_rows[name].shape[-2], :] += open_rows[name]
            done = following - top
            strips[name] = rows[..., :done, :] / down[top:following].view(-1, 1)
            open_rows[name] = rows[..., done:, :].clone()
        yield strips


def _sums(
    band: Tensor,
    crop: int,
    lefts: list[int],
    run: Callable[[Tensor], dict[str, Tensor]],
    batch_size: int,
) -> dict[str, Tensor]:
    """Sums over one row of windows."""
    sums: dict[str, Tensor] = {}
    for first in range(0, len(lefts), batch_size):
        some = lefts[first : first + batch_size]
        out = run(torch.cat([band[..., left : left + crop] for left in some]))
        for name, maps in out.items():
            if name not in sums:
                sums[name] = maps.new_zeros(1, maps.shape[1], *band.shape[-2:])
            for left, window in zip(some, maps, strict=True):
                sums[name][0, ..., left : left + crop] += window
    return sums


def starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along an axis.

    Example:
        >>> starts(10, 4, 3), starts(11, 4, 3), starts(4, 4, 3)
        ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    number = -(-max(length - crop, 0) // stride) + 1
    return [min(i * stride, length - crop) for i in range(number)]


def counts(length: int, crop: int, at: list[int]) -> Tensor:
    """How many windows hold each pixel of an axis."""
    number = torch.zeros(length)
    for start in at:
        number[start : start + crop] += 1
    return number
