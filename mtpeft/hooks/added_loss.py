"""A term that a hook adds to the loss of any model."""

from collections.abc import Callable
from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor


def add_to_loss(wrapper: OptimWrapper, term: Callable[[], Tensor]) -> None:
    """Let every step of ``wrapper`` minimise the model's loss plus ``term()``.

    It is added where the loss reaches the wrapper, so it is scaled, divided among accumulated
    batches and passed backwards as the loss is, whatever model made that.

    Args:
        wrapper: An optimizer wrapper.
        term: Gives a scalar with its gradient; called once for every batch.

    Example:
        >>> import torch
        >>> from mmengine.optim import OptimWrapper
        >>> x = torch.nn.Parameter(torch.tensor(3.0))
        >>> wrapper = OptimWrapper(torch.optim.SGD([x], lr=0.1))
        >>> add_to_loss(wrapper, lambda: x.square())
        >>> wrapper.update_params(0 * x)  # the gradient is 2 x
        >>> round(float(x), 4)
        2.4
    """
    plain = wrapper.update_params

    def update_params(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        plain(loss + term(), *args, **kwargs)

    wrapper.update_params = update_params
