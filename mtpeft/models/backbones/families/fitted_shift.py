"""Windows that are shifted only where the map of the pass does not fit into one of them."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.backbones.swin import ShiftWindowMSA
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now
from mtpeft.utils.exporting import exported, surely_below


class _FittedShift:
    """Mixin: ``shift_size`` follows from the map of the pass, so that threads may share a network.

    Outside of a pass windows are shifted, as of a map of more than one.
    """

    def _shift(self, full: Sequence[int] | int, none: Sequence[int] | int) -> Sequence[int] | int:
        if not now.size:
            return full
        fits = fits_one_window if not exported() else surely_fits
        return none if fits(now.size, self.window_size) else full


class _FittedTimm(_FittedShift):
    """Mixin: a block of timm."""

    def get_attn_mask(self, x: Tensor | None = None, **options: Any) -> Tensor | None:
        """timm's mask; in a graph that is exported, by few operators instead of ten a block."""
        if x is None or not exported():
            return super().get_attn_mask(x, **options)
        return None if not any(self.shift_size) else _mask(x, self.window_size, self.shift_size)


class FittedBlock(_FittedTimm, SwinTransformerBlock):
    """timm's block."""

    @property
    def shift_size(self) -> tuple[int, int]:
        return self._shift(self.target_shift_size, (0, 0))

    @shift_size.setter
    def shift_size(self, _: tuple[int, int]) -> None:
        """Follows from the map, whatever timm found for the size that it was built for."""


class FittedV2Block(_FittedTimm, SwinTransformerV2Block):
    """timm's block of Swin V2."""

    shift_size = FittedBlock.shift_size


class FittedMSA(_FittedShift, ShiftWindowMSA):
    """mmseg's attention."""

    @property
    def shift_size(self) -> int:
        return self._shift(self.__dict__['shift_size'], 0)

    def window_reverse(self, windows: Tensor, H: int, W: int) -> Tensor:
        """mmseg's, which makes a plain number of the pictures; a graph is exported for any."""
        if not exported():
            return super().window_reverse(windows, H, W)
        return window_reverse(windows, (self.window_size, self.window_size), H, W)


def fit_shifts(network: nn.Module) -> None:
    """Let the windows of a Swin follow the map; in place, with nothing added to its state."""
    fitted = {kind.__bases__[1]: kind for kind in (FittedBlock, FittedV2Block, FittedMSA)}
    for module in network.modules():
        if type(module) in fitted:
            module.__class__ = fitted[type(module)]


def _mask(x: Tensor, window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """0 between pixels of a shifted window that were neighbours before, else -100.

    Args:
        x: The map ``(B, H, W, C)``.
        window: Height and width of a window.
        shift: How far windows are shifted.

    Returns:
        ``(windows, area, area)``.
    """
    rows, columns = (
        _region(math.ceil(side / length) * length, length, by, x)
        for side, length, by in zip(x.shape[1:3], window, shift, strict=True)
    )
    regions = window_partition((3 * rows[:, None] + columns)[None, :, :, None], window)
    regions = regions.flatten(1)
    return (regions[:, None] != regions[:, :, None]).to(x.dtype) * -100


def _region(side: int, window: int, shift: int, like: Tensor) -> Tensor:
    """0 up to the last window of an axis, 2 where that shows what was at the other end, else 1."""
    place = torch.arange(side, device=like.device)
    return (place >= side - window).long() + (place >= side - shift).long()


def fits_one_window(size: tuple[int, int], window: int | Sequence[int]) -> bool:
    """Is the whole map inside one attention window? Then there is nothing to shift."""
    height, width = (window, window) if isinstance(window, int) else window
    return size[0] <= height and size[1] <= width


def surely_fits(size: tuple[int, int], window: int | Sequence[int]) -> bool:
    """The same of a map whose size a graph may leave open, for all sizes that it may have.

    Raises:
        ValueError: it fits for some and not for others; a graph would hold one of the two.
    """
    height, width = (window, window) if isinstance(window, int) else window
    if surely_below(height, size[0]) or surely_below(width, size[1]):
        return False
    if surely_below(size[0], height + 1) and surely_below(size[1], width + 1):
        return True
    raise ValueError(
        f'A Swin shifts its windows where the map is larger than one ({height} x {width}) and not '
        'elsewhere, and this graph is to be for both. Export it at one size, or for sizes (min= of '
        'torch.export.Dim) whose maps are all larger.'
    )
