"""Windows that are shifted only where the map of the pass does not fit into one of them."""

from collections.abc import Sequence

from mmseg.models.backbones.swin import ShiftWindowMSA
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import nn

from mtpeft.adapters.lanes.current import now


class _FittedShift:
    """Mixin: ``shift_size`` follows from the map of the pass, so that threads may share a network.

    Outside of a pass windows are shifted, as of a map of more than one.
    """

    def _shift(self, full: Sequence[int] | int, none: Sequence[int] | int) -> Sequence[int] | int:
        return none if now.size and fits_one_window(now.size, self.window_size) else full


class FittedBlock(_FittedShift, SwinTransformerBlock):
    """timm's block."""

    @property
    def shift_size(self) -> tuple[int, int]:
        return self._shift(self.target_shift_size, (0, 0))

    @shift_size.setter
    def shift_size(self, _: tuple[int, int]) -> None:
        """Follows from the map, whatever timm found for the size that it was built for."""


class FittedV2Block(_FittedShift, SwinTransformerV2Block):
    """timm's block of Swin V2."""

    shift_size = FittedBlock.shift_size


class FittedMSA(_FittedShift, ShiftWindowMSA):
    """mmseg's attention."""

    @property
    def shift_size(self) -> int:
        return self._shift(self.__dict__['shift_size'], 0)


def fit_shifts(network: nn.Module) -> None:
    """Let the windows of a Swin follow the map; in place, with nothing added to its state."""
    fitted = {kind.__bases__[1]: kind for kind in (FittedBlock, FittedV2Block, FittedMSA)}
    for module in network.modules():
        if type(module) in fitted:
            module.__class__ = fitted[type(module)]


def fits_one_window(size: tuple[int, int], window: int | Sequence[int]) -> bool:
    """Is the whole map inside one attention window? Then there is nothing to shift."""
    height, width = (window, window) if isinstance(window, int) else window
    return size[0] <= height and size[1] <= width
