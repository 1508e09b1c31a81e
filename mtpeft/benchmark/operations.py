"""Multiply-adds of a call, and how many a second a device does at best."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from mtpeft.benchmark.rounds import Call, synchronize

_aten = torch.ops.aten


def _product(
    _: torch.Size, a: torch.Size, *__: object, out_shape: torch.Size, **___: object
) -> int:
    """Operations, two a multiply-add, of shapes."""
    return 2 * math.prod(out_shape) * a[-1]


def _convolution_backward(
    grad: torch.Size, x: torch.Size, weight: torch.Size, *rest: object, **_: object
) -> int:
    """Operations of the gradients that are asked for: each takes those of the forward pass.

    (torch's own formula counts the weight's gradient of a grouped convolution as if each group saw
    every channel, 2.14.1.)
    """
    transposed, mask = rest[4], rest[7]
    places = (x if transposed else grad)[2:]
    return 2 * grad[0] * math.prod(places) * math.prod(weight) * sum(mask[:2])


# products in place, which the counter would leave out, and what it counts wrongly
_FORMULAS = {
    _aten.addmm_: _product,
    _aten.baddbmm_: _product,
    _aten.convolution_backward: _convolution_backward,
}


def multiply_adds(function: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions of a call, its backward pass included.

    Norms, activations, resampling and Fourier transforms are not counted, nor what a
    :class:`~mtpeft.benchmark.Call` does before.

    Example:
        >>> layer = torch.nn.Linear(4, 3, bias=False)
        >>> multiply_adds(lambda: layer(torch.ones(2, 4)))
        24
    """
    if isinstance(function, Call):
        function.prepare()
        function = function.function
    with counting() as counted:
        function()
        return counted()


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """Count multiply-adds: gives a function that says how many there were so far.

    Example:
        >>> with counting() as counted:
        ...     _ = torch.ones(2, 4) @ torch.ones(4, 3)
        ...     print(counted())
        24
    """
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        yield lambda: counter.get_total_flops() // 2


def product_rate(device: torch.device | str = 'cpu', bf16: bool = False, size: int = 0) -> float:
    """Multiply-adds a second of a square matrix product: the ceiling of a device.

    Args:
        device: Where.
        bf16: In bfloat16.
        size: Rows and columns. Default: 8192 on a GPU, 2048 on a CPU.
    """
    device = torch.device(device)
    size = size or (8192 if device.type == 'cuda' else 2048)
    dtype = torch.bfloat16 if bf16 else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(7):
        synchronize(device)
        start = time.perf_counter()
        a @ b
        synchronize(device)
        times.append(time.perf_counter() - start)
    return size**3 / statistics.median(times[2:])
