"""A low-rank product of what GELU makes of its rows, a few rows at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtpeft.ops.low_rank_add import low_rank_add, products
from mtpeft.ops.plain import plain_ops

# Numbers of one run of rows, for each thread; a run and its copies fit a core's cache.
_RUN = 1 << 18
# Below so many numbers GELU's output is faster made, and kept, as a whole.
_LARGE = 1 << 20


class LowRankSum(NamedTuple):
    """``frozen + scale B A x``, not made yet; the arguments of ``low_rank_add``."""

    frozen: Tensor
    x: Tensor
    a: Tensor
    b: Tensor
    scale: float

    def made(self) -> Tensor:
        """The sum."""
        if plain_ops():
            return self.frozen + self.scale * F.linear(F.linear(self.x, self.a), self.b)
        return low_rank_add(*self)


def gelu_low_rank_add(
    frozen: Tensor,
    x: Tensor | LowRankSum,
    a: Tensor,
    b: Tensor,
    scale: float,
    approximate: str = 'none',
) -> Tensor:
    r"""``frozen + s B A gelu(x)``.

    Where the product is all that reads gelu(x), there is no need for it as a whole: the rows are
    taken in runs, of which only the ``r`` numbers of each row are left. The backward pass makes
    each run of gelu(x) again and keeps none. Of an x that is itself a frozen output and a low-rank
    product, x is not made as a whole either.

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
    before = (x, None, None, None, 1.0) if isinstance(x, Tensor) else x
    return _GELULowRankAdd.apply(approximate, scale, frozen, a, b, *before)


def made(x: Tensor | LowRankSum) -> Tensor:
    """``x``, or the sum that it stands for."""
    return x if isinstance(x, Tensor) else x.made()


def takes_less(activation: nn.Module, x: Tensor | LowRankSum) -> bool:
    """Is the activation of ``x`` a GELU that is better taken in runs?

    On a CPU and where the map is large; half precision and a compiler have ways of their own.
    """
    if plain_ops():  # (asked first: to compare sizes would fix those that a graph leaves open)
        return False
    x = x if isinstance(x, Tensor) else x.frozen
    if type(activation) is not nn.GELU or x.device.type != 'cpu' or x.numel() < _LARGE:
        return False
    whole = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled('cpu')
    return whole and not torch.compiler.is_compiling()


class _GELULowRankAdd(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        approximate: str,
        scale: float,
        frozen: Tensor,
        a: Tensor,
        b: Tensor,
        *before: Tensor | float | None,
    ) -> Tensor:
        ctx.approximate, ctx.scale, ctx.scale_before = approximate, scale, before[-1]
        ctx.save_for_backward(a, b, *before[:-1])
        out = frozen.new_empty(frozen.shape)
        base, into = frozen.flatten(0, -2), out.flatten(0, -2)
        for run, x in _runs(*before):
            low = torch.ops.aten.gelu.out(x, approximate=approximate, out=_own(x, before)) @ a.mT
            torch.addmm(base[run], low, b.mT, alpha=scale, out=into[run])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, x, x_low, a_low, b_low = ctx.saved_tensors
        before = x, x_low, a_low, b_low, ctx.scale_before
        grads, scale = grad.flatten(0, -2), ctx.scale
        # B's columns behind one another: a CPU multiplies several times as fast by a few of them
        thin = b.mT.contiguous()
        d_x, d_a, d_b = torch.empty_like(x), torch.zeros_like(a), torch.zeros_like(thin)
        into = d_x.flatten(0, -2)
        for run, start in _runs(*before):
            upper = grads[run]
            z = F.gelu(start, approximate=ctx.approximate)
            low = scale * (upper @ thin.mT)
            # (in place by out=, which counters of operations know)
            torch.addmm(d_b, (z @ a.mT).mT, upper, alpha=scale, out=d_b)
            torch.addmm(d_a, low.mT, z, out=d_a)
            d_z = torch.mm(low, a, out=z)
            torch.ops.aten.gelu_backward.grad_input(
                d_z, start, approximate=ctx.approximate, grad_input=into[run]
            )
        d_before = (None,) * 3
        if a_low is not None:
            d_before = products(d_x, x_low, a_low, b_low, ctx.scale_before, False)
        return None, None, grad, d_a, d_b.mT.contiguous(), d_x, *d_before, None


def _runs(
    frozen: Tensor, x: Tensor | None, a: Tensor | None, b: Tensor | None, scale: float
) -> Iterator[tuple[slice, Tensor]]:
    """Runs of rows, and their rows of the sum."""
    rows = frozen.flatten(0, -2)
    step = max(1, _RUN * torch.get_num_threads() // rows.shape[-1])
    low = None if a is None else x.flatten(0, -2) @ a.mT
    for i in range(0, len(rows), step):
        run = slice(i, i + step)
        part = rows[run]
        yield run, part if low is None else torch.addmm(part, low[run], b.mT, alpha=scale)


def _own(x: Tensor, before: tuple) -> Tensor:
    """Where GELU of a run may be written: over a sum that was made for it alone."""
    return torch.empty_like(x) if before[1] is None else x
