"""A low-rank product of rows that dropout thins, a few rows at a time."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.ops.dropout import Drops, new_seed

# Numbers of one run of rows: shorter runs waste time in products, longer ones memory.
_RUN = 1 << 20


def dropped_low_rank_add(
    frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, p: float
) -> Tensor:
    r"""``frozen + s B A dropout(x)``, without a mask or a second x in memory.

    .. math:: y = y_0 + \frac{s}{1 - p} B A\,(m \circ x), \qquad m \sim \mathrm{Bernoulli}(1 - p)

    The rows are taken in runs. Of each, a copy loses what is dropped, is multiplied by A, and is
    not kept; the product, r numbers a row, is. The backward pass draws the same places again
    (:class:`~mtpeft.ops.dropout.Drops`).

    Args:
        frozen: ``(..., out)``, of x's type.
        x: ``(..., in)``.
        a: A ``(r, in)``.
        b: B ``(out, r)``.
        scale: s.
        p: Probability, between 0 and 1.

    Returns:
        ``(..., out)``.

    Example:
        >>> y, x = torch.zeros(5, 4), torch.ones(5, 3)
        >>> dropped_low_rank_add(y, x, torch.ones(2, 3), torch.ones(4, 2), 0.5, 0.1).shape
        torch.Size([5, 4])
    """
    return _DroppedLowRankAdd.apply(frozen, x, a, b, scale, p)


class _DroppedLowRankAdd(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, p: float
    ) -> Tensor:
        ctx.p, ctx.scale, ctx.seed = p, scale / (1 - p), new_seed()
        # written into, since the result must be no view: a network may change it in place
        out = frozen.new_empty(frozen.shape)
        base, into = frozen.flatten(0, -2), out.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            low_a, low_b = a.to(x.dtype), b.to(x.dtype)
            low = x.new_empty(len(base), len(a))
            for run, kept, _, _ in _runs(x, p, ctx.seed):
                torch.mm(kept, low_a.mT, out=low[run])
                torch.addmm(base[run], low[run], low_b.mT, alpha=ctx.scale, out=into[run])
        ctx.save_for_backward(x, a, b, low)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, down = ctx.saved_tensors
        upper = grad.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            low_a = a.to(x.dtype)
            # B's columns behind one another: a CPU multiplies several times as fast by a few
            thin = b.to(x.dtype).mT.contiguous()
            d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            into = d_x.flatten(0, -2)
            wide = torch.promote_types(x.dtype, torch.float32)
            d_a, d_b = a.new_zeros(a.shape, dtype=wide), b.new_zeros(thin.shape, dtype=wide)
            for run, kept, places, drops in _runs(x, ctx.p, ctx.seed):
                low = ctx.scale * (upper[run] @ thin.mT)
                _add_product(d_b, down[run].mT, upper[run], ctx.scale)
                _add_product(d_a, low.mT, kept, 1)
                drops.drop_(torch.mm(low, low_a, out=into[run]), places)
        return grad, d_x, d_a.to(a.dtype), d_b.mT.to(b.dtype).contiguous(), None, None


def _add_product(into: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """``into += scale * left @ right``; sums over runs are float32 at least."""
    if into.dtype == left.dtype:
        # (in place by out=, which counters of operations know)
        torch.addmm(into, left, right, alpha=scale, out=into)
    else:
        into += scale * (left @ right)


def _runs(x: Tensor, p: float, seed: int) -> Iterator[tuple[slice, Tensor, Tensor, Drops]]:
    """Runs of rows: their slice, what dropout keeps of them (not scaled), and what it drops."""
    rows, drops = x.flatten(0, -2), Drops(p, seed, x.device)
    step = max(1, _RUN // rows.shape[-1] if x.device.type == 'cpu' else len(rows))
    copy = rows.new_empty(min(step, len(rows)), rows.shape[-1])
    for i in range(0, len(rows), step):
        run = slice(i, i + step)
        kept = copy[: len(rows[run])].copy_(rows[run])
        places = drops.next(kept.numel())
        yield run, drops.drop_(kept, places), places, drops
