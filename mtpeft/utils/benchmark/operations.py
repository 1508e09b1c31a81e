"""Multiply-adds of a call."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(function: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions of a call, its backward pass included.

    Norms, activations, resampling and Fourier transforms are not counted.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(4, 3, bias=False)
        >>> multiply_adds(lambda: layer(torch.ones(2, 4)))
        24
    """
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() // 2
