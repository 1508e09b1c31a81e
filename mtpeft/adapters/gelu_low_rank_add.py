"""A low-rank product of what GELU makes of its rows, a few rows at a time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Numbers of one run of rows, for each thread; a run and its copies fit a core's cache.
_RUN = 1 << 18
# Below so many numbers GELU's output is faster made, and kept, as a whole.
_LARGE = 1 << 20


def gelu_low_rank_add(
    frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, approximate: str = 'none'
) -> Tensor:
    r"""``frozen + s B A gelu(x)``.

    Where the product is all that reads gelu(x), there is no need for it as a whole: the rows are
    taken in runs, of which only the ``r`` numbers of each row are left. The backward pass makes
    each run of gelu(x) again and keeps none.

    Args:
        frozen: ``(..., out)``, of x's type.
        x: ``(..., in)``.
        a: A ``(r, in)``.
        b: B ``(out, r)``.
        scale: s.
        approximate: As of ``torch.nn.GELU``.

    Returns:
        ``(..., out)``.

    Example:
        >>> y, x, a, b = torch.rand(5, 4), torch.rand(5, 3), torch.rand(2, 3), torch.rand(4, 2)
        >>> out = gelu_low_rank_add(y, x, a, b, 0.5)
        >>> torch.allclose(out, y + 0.5 * (F.gelu(x) @ a.T) @ b.T)
        True
    """
    return _GELULowRankAdd.apply(frozen, x, a, b, scale, approximate)


def takes_less(activation: nn.Module, x: Tensor) -> bool:
    """Is the activation of ``x`` a GELU that is better taken in runs?

    On a CPU and where the map is large; half precision and a compiler have ways of their own.
    """
    if type(activation) is not nn.GELU or x.device.type != 'cpu' or x.numel() < _LARGE:
        return False
    whole = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled('cpu')
    return whole and not torch.compiler.is_compiling()


class _GELULowRankAdd(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, approximate: str
    ) -> Tensor:
        ctx.scale, ctx.approximate = scale, approximate
        ctx.save_for_backward(x, a, b)
        out = frozen.new_empty(frozen.shape)
        base, rows, into = (t.flatten(0, -2) for t in (frozen, x, out))
        for run in _runs(rows):
            low = F.gelu(rows[run], approximate=approximate) @ a.mT
            torch.addmm(base[run], low, b.mT, alpha=scale, out=into[run])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b = ctx.saved_tensors
        rows, grads = x.flatten(0, -2), grad.flatten(0, -2)
        # B's columns behind one another: a CPU multiplies several times as fast by a few of them
        thin, scale = b.mT.contiguous(), ctx.scale
        d_x, d_a, d_b = torch.empty_like(rows), torch.zeros_like(a), torch.zeros_like(thin)
        for run in _runs(rows):
            start, upper = rows[run], grads[run]
            z = F.gelu(start, approximate=ctx.approximate)
            low = scale * (upper @ thin.mT)
            # (in place by out=, which counters of operations know)
            torch.addmm(d_b, (z @ a.mT).mT, upper, alpha=scale, out=d_b)
            torch.addmm(d_a, low.mT, z, out=d_a)
            d_z = torch.mm(low, a, out=z)
            torch.ops.aten.gelu_backward.grad_input(
                d_z, start, approximate=ctx.approximate, grad_input=d_x[run]
            )
        return grad, d_x.view(x.shape), d_a, d_b.mT.contiguous(), None, None


def _runs(rows: Tensor) -> list[slice]:
    step = max(1, _RUN * torch.get_num_threads() // rows.shape[-1])
    return [slice(i, i + step) for i in range(0, len(rows), step)]
