"""A product with a weight that is made of parameters, and made again instead of kept."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.ops.plain import plain_ops

#: the weights ``(n, out, in)`` of n lanes, of sources with a leading axis of n, or 1, each
Make = Callable[..., Tensor]


def forms_again() -> bool:
    """Is a weight that is made of parameters better made twice than kept?

    Where something trains; a compiler has ways of its own.
    """
    return torch.is_grad_enabled() and not torch.compiler.is_compiling() and not plain_ops()


def linear_formed_again(
    x: Tensor, bias: Tensor | None, make: Make, *sources: Tensor
) -> Tensor:  # fmt: skip
    r"""A lane's product with a weight that is formed in the forward and in the backward pass.

    .. math:: y_t = x_t\, W_t^T + b, \qquad W_t = \mathrm{make}(s_t)

    Kept for the backward pass are x and the sources s, but no weight: as many full matrices as
    there are lanes, which many a formula makes of few numbers in little time. On a CPU lanes are
    formed and passed one after another, so that one weight is there at a time; elsewhere at once.
    Under ``torch.vmap`` over lanes, x and any of the sources may be mapped.

    Args:
        x: ``(..., in)``.
        bias: b ``(out,)`` or ``None``, of x's type and the same for all lanes.
        make: Gets ``sources`` with an axis of lanes in front, of n or of 1, and gives ``(n, out,
            in)``. What it reads besides gets no gradient.
        sources: Tensors.

    Returns:
        ``(..., out)``, of x's type.

    Example:
        >>> x, a, b = torch.rand(5, 3), torch.rand(2, 3), torch.rand(4, 2)
        >>> y = linear_formed_again(x, None, lambda a, b: b @ a, a, b)
        >>> torch.allclose(y, x @ (b @ a).T)
        True
    """
    return _LinearFormedAgain.apply(x[None], bias, make, *(s[None] for s in sources))[0]


class _LinearFormedAgain(torch.autograd.Function):
    """The same with lanes in front: ``(L, ..., in)``, and sources ``(L or 1, ...)``."""

    @staticmethod
    def forward(x: Tensor, bias: Tensor | None, make: Make, *sources: Tensor) -> Tensor:
        out = None
        with torch.autocast(x.device.type, enabled=False):
            for lanes in groups_of_lanes(x, len(x)):
                weight = formed_of_lanes(make, of_lanes(sources, lanes), lanes, len(x)).to(x.dtype)
                if out is None:
                    out = x.new_empty(*x.shape[:-1], weight.shape[-2])
                # written into, since the result must be no view: a network may change it in place
                rows, into = _as_rows(x[lanes]), _as_rows(out[lanes])
                if bias is None:
                    torch.bmm(rows, weight.mT, out=into)
                else:
                    torch.baddbmm(bias, rows, weight.mT, out=into)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.make, *sources = inputs
        ctx.save_for_backward(x, *sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *sources = ctx.saved_tensors
        need_x, need_bias, _, *needs = ctx.needs_input_grad
        wanted = [i for i, need in enumerate(needs) if need]
        d_x = torch.empty_like(x, memory_format=torch.contiguous_format) if need_x else None
        found: dict[int, list[Tensor]] = {i: [] for i in wanted}
        with torch.autocast(x.device.type, enabled=False):
            for lanes in groups_of_lanes(x, len(x)):
                own = [s.detach() for s in of_lanes(sources, lanes)]
                with torch.enable_grad():
                    own = [s.requires_grad_(i in wanted) for i, s in enumerate(own)]
                    weight = formed_of_lanes(ctx.make, own, lanes, len(x))
                upstream = _as_rows(grad[lanes])
                if need_x:
                    torch.bmm(upstream, weight.detach().to(x.dtype), out=_as_rows(d_x[lanes]))
                if wanted:
                    d_weight = (upstream.mT @ _as_rows(x[lanes])).to(weight.dtype)
                    d_own = torch.autograd.grad(weight, [own[i] for i in wanted], d_weight)
                    for i, d_one in zip(wanted, d_own, strict=True):
                        found[i] = gathered(found[i], d_one, sources[i])
            d_bias = grad.flatten(0, -2).sum(0) if need_bias else None
        d_sources = (torch.cat(found[i]) if i in found else None for i in range(len(sources)))
        return d_x, d_bias, None, *d_sources

    @staticmethod
    def vmap(
        info: Any,
        in_dims: Sequence[int | None],
        x: Tensor,
        bias: Tensor | None,
        make: Make,
        *sources: Tensor,
    ) -> tuple[Tensor, int]:
        x_dim, bias_dim, _, *dims = in_dims
        if bias_dim is not None:
            raise ValueError('linear_formed_again has one bias for all lanes, got one for each')
        x, *sources = in_front((x, *sources), (x_dim, *dims))
        x = x.expand(info.batch_size, *x.shape[1:])
        return _LinearFormedAgain.apply(x, bias, make, *sources).unsqueeze(1), 0


def groups_of_lanes(x: Tensor, count: int) -> list[slice]:
    """Lanes whose weights are there at one time."""
    each = [slice(i, i + 1) for i in range(count)]
    return each if x.device.type == 'cpu' else [slice(None)]


def of_lanes(tensors: Sequence[Tensor], lanes: slice) -> list[Tensor]:
    """Of each tensor with lanes in front those of a group; what is the same for all stays."""
    return [t if len(t) == 1 else t[lanes] for t in tensors]


def in_front(tensors: Sequence[Tensor], dims: Sequence[int | None]) -> list[Tensor]:
    """Tensors of one lane each, mapped over ``dims``, with the lanes on their first axis."""
    return [
        # the axis of one lane, which the function for one put there, makes place for them
        tensor if dim is None else tensor.movedim(dim, 0).squeeze(1)
        for tensor, dim in zip(tensors, dims, strict=True)
    ]


def formed_of_lanes(make: Make, sources: Sequence[Tensor], lanes: slice, count: int) -> Tensor:
    """The weights of a group of ``count`` lanes, where all have the same too."""
    weight = make(*sources)
    return weight.expand(len(range(count)[lanes]), *weight.shape[1:])


def gathered(found: list[Tensor], one: Tensor, source: Tensor) -> list[Tensor]:
    """``found`` gradients of a source by group, with one more."""
    if found and len(source) == 1:  # the same for all lanes
        # (not in place: the gradients of two sources can be one tensor)
        return [found[0] + one]
    return [*found, one]


def _as_rows(x: Tensor) -> Tensor:
    """``(n, ..., width)`` as ``(n, rows, width)``, a view where it can be one."""
    return x.reshape(len(x), -1, x.shape[-1])
