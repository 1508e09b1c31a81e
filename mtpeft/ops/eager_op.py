"""A custom operator called without the dispatcher, where none of its transforms is at work."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.utils.torch_private import transform


def eager(
    operator: Callable[..., Tensor],
    formula: Callable[..., Tensor],
    setup: Callable[[Any, tuple, Tensor], None],
    backward: Callable[..., tuple],
) -> Callable[..., Tensor]:
    """A function of the operator's positional arguments, all of them.

    The dispatcher takes some tenths of a millisecond for an operator of Python and its gradient. A
    compiler and ``torch.vmap`` need it; otherwise an autograd function does.

    Args:
        operator: The ``torch.library.custom_op``.
        formula: The function that it was made of.
        setup: What was given to ``register_autograd`` as ``setup_context``.
        backward: What was given to it as the backward function.
    """

    class Eager(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            out = formula(*inputs)
            setup(ctx, inputs, out)
            return out

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Tensor) -> tuple:
            return backward(ctx, grad)

    Eager.__name__ = Eager.__qualname__ = formula.__name__

    def call(*inputs: Any) -> Tensor:
        if torch.compiler.is_compiling() or transform() is not None:
            return operator(*inputs)
        return Eager.apply(*inputs)

    return call
