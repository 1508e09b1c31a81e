"""What the model tells necks and decoder of the levels that come to them."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mtpeft.models.backbones import AdapterBackbone

Sizes = tuple[tuple[int, int], ...]


def check_img_size(size: Any) -> tuple[int, int] | None:
    """``size`` as (height, width), ``None`` where it is ``None``; refuses anything else."""
    if size is None:
        return None
    pair = isinstance(size, Sequence) and len(size) == 2
    if not pair or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(
            'Expected `img_size` to be the height and width of the pictures the model is made for, '
            f'two positive integers, got {size!r}.'
        )
    return tuple(size)


def shapes_of(backbone: nn.Module, size: tuple[int, int] | None) -> dict[str, tuple]:
    """Options ``in_channels`` and ``base_sizes`` for what comes after ``backbone``.

    Args:
        backbone: The backbone.
        size: Height and width of the pictures, padded; ``None``: not known.
    """
    # others call something else so: mmseg's ResNet the strides of its stages' first blocks
    known = size is not None and isinstance(backbone, AdapterBackbone)
    return {**_widths(backbone), **({'base_sizes': level_sizes(size, backbone.strides)} if known
                                    else {})}  # fmt: skip


def shapes_behind(neck: nn.Module, shapes: dict[str, tuple]) -> dict[str, tuple]:
    """The same for what comes after ``neck``, which got ``shapes``.

    A neck that changes the sizes has an attribute ``base_sizes``. Another one keeps them, if it
    keeps the number of levels.
    """
    widths = _widths(neck)
    sizes = getattr(neck, 'base_sizes', None) or shapes.get('base_sizes')
    fits = sizes is not None and len(sizes) == len(widths.get('in_channels', ()))
    return {**widths, **({'base_sizes': tuple(sizes)} if fits else {})}


def level_sizes(size: tuple[int, int], strides: Sequence[int]) -> Sizes:
    """Height and width of the levels of a picture.

    Example:
        >>> level_sizes((448, 450), (8, 16, 32, 32))
        ((56, 57), (28, 29), (14, 15), (14, 15))
    """
    return tuple(tuple(-(-side // stride) for side in size) for stride in strides)


def _widths(module: nn.Module) -> dict[str, tuple[int, ...]]:
    widths = getattr(module, 'out_channels', None)
    return {} if widths is None else {'in_channels': tuple(widths)}
