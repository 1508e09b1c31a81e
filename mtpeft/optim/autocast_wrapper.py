"""Mixed precision without loss scaling, on a CPU as well as on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mtpeft.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Runs the forward pass in bfloat16; weights, gradients and the update stay float32.

    bfloat16 has float32's range, so no gradient scaler is needed, and accumulation and clipping
    are those of MMEngine's ``OptimWrapper``. (MMEngine's ``AmpOptimWrapper`` refuses a CPU.)

    Args:
        **kwargs: Options of MMEngine's ``OptimWrapper``: ``optimizer``, ``accumulative_counts``,
            ``clip_grad``.

    Raises:
        RuntimeError: the GPU cannot compute in bfloat16.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 2)
        >>> wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=.1))
        >>> with wrapper.optim_context(layer):
        ...     layer(torch.ones(1, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not bf16_supported():
            raise RuntimeError(
                'AutocastOptimWrapper needs a device that computes in bfloat16; this GPU does '
                "not. Use type='AmpOptimWrapper' (float16 with loss scaling)."
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient reduction in steps that only accumulate."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


def bf16_supported() -> bool:
    """Whether the device that training runs on computes in bfloat16."""
    return get_device() != 'cuda' or torch.cuda.is_bf16_supported()
