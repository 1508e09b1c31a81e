"""Vectors of length 1."""

import torch
from torch import Tensor


def unit_vectors(x: Tensor, dim: int = 1, eps: float = 1e-12) -> Tensor:
    r"""``x`` with vectors of length 1 along ``dim``: :math:`x / \max(\lVert x \rVert_2, \epsilon)`.

    The function and the gradient of ``torch.nn.functional.normalize``, whose norm over an axis that
    is not the last one takes a CPU a hundred times as long as the sum of squares here.

    Args:
        x: Floating point, e.g. ``(B, 3, H, W)``; half precision is taken to float32.
        dim: Axis of the components.
        eps: Shorter vectors are divided by it; a vector of length 0 stays 0.

    Example:
        >>> unit_vectors(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    return x / x.square().sum(dim, keepdim=True).clamp_min(eps * eps).sqrt()
