"""Lanes that convolve over the map that their tokens are of."""

import math

import torch.nn.functional as F
from torch import Tensor

from mtpeft.adapters.lanes.current import now


class OnMap:
    """Mixin: an adapter of Linear layers whose lanes see the neighbours of a pixel.

    Tokens ``(B, prefix + H W, C)`` have no neighbours by themselves: the pass says which map
    ``(H, W)`` they are of, and how many tokens stand before it
    (:mod:`mtpeft.adapters.lanes.current`).
    """

    #: the option with which lanes need no map
    without_map = ''
    #: what convolves, for messages
    convolves = ''

    @property
    def needs_map(self) -> bool:
        """Do the lanes of this very layer need one?"""
        raise NotImplementedError

    def patches(self, x: Tensor) -> Tensor:
        """Maps ``(..., H, W, C)`` of tokens; maps stay as they are.

        Raises:
            ValueError: the tokens are of no known map.
        """
        if x.ndim > 3:
            return x
        size, prefix = now.size, now.prefix
        if x.ndim == 3 and size and x.shape[1] - prefix == math.prod(size):
            return x[:, prefix:].unflatten(1, size)
        raise ValueError(
            f'{self.convolves} needs a map: expected (..., H, W, C), or (B, H W, C) of a known '
            f'map, got {tuple(x.shape)} with map {size}. Layers inside attention see windows or '
            f'tokens without a place; {self.without_map} serves all.'
        )

    @staticmethod
    def tokens(patches: Tensor, like: Tensor) -> Tensor:
        """Maps as the tokens ``like``, with 0 for those before the map."""
        return patches if like.ndim > 3 else F.pad(patches.flatten(1, 2), (0, 0, now.prefix, 0))


def needs_map(adapter: object) -> bool:
    """Do an adapter's lanes have to know the map?"""
    return isinstance(adapter, OnMap) and adapter.needs_map
