"""A low-rank product added to what came out of the frozen layer, for all lanes in one call."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mtpeft.ops.eager_op import eager

# Below this rank a CPU multiplies by B faster when its columns lie behind one another.
_THIN = 16


def low_rank_add(
    frozen: Tensor,
    x: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    frozen_lanes: bool = False,
    x_lanes: bool = False,
) -> Tensor:
    r"""``frozen + s B A x``, for one stream or, mapped by ``torch.vmap``, for ``L`` lanes.

    One pass over the output instead of three (product, scaling, sum), and nothing of rank size is
    kept: the backward pass makes A x again. Batched products of a small rank are slow on a CPU, so
    there the lanes are multiplied one after another.

    Args:
        frozen: ``(..., out)``; of lanes ``(L, ..., out)``, or ``(..., out)`` for all of them.
        x: ``(..., in)``; of lanes ``(L, ..., in)``, or ``(..., in)`` for all of them.
        a: A ``(r, in)``; of lanes ``(L, r, in)``.
        b: B ``(out, r)``; of lanes ``(L, out, r)``.
        scale: s.
        frozen_lanes: Each lane has its own ``frozen``.
        x_lanes: Each lane has its own ``x``.

    Returns:
        ``(..., out)``; of lanes ``(L, ..., out)``; of ``frozen``'s type.

    Example:
        >>> y, x, a, b = torch.rand(5, 4), torch.rand(5, 3), torch.rand(2, 3), torch.rand(4, 2)
        >>> torch.allclose(low_rank_add(y, x, a, b, 0.5), y + 0.5 * (x @ a.T) @ b.T)
        True
    """
    return _eager(frozen, x, a, b, scale, frozen_lanes, x_lanes)


def _add(
    frozen: Tensor,
    x: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    frozen_lanes: bool = False,
    x_lanes: bool = False,
) -> Tensor:
    # written into, since the result must be no view: a network may change it in place
    out = frozen.new_empty(_shape(x.shape, a.shape, b.shape, x_lanes))
    with torch.autocast(x.device.type, enabled=False):
        a, b = a.to(x.dtype), b.to(x.dtype)
        if a.ndim == 2:
            low, into = x.flatten(0, -2) @ a.mT, out.view(-1, out.shape[-1])
            torch.addmm(frozen.flatten(0, -2), low, b.mT, alpha=scale, out=into)
            return out
        base, rows = _rows(frozen, len(a), frozen_lanes), _rows(x, len(a), x_lanes)
        into = out.view(base.shape)
        if x.is_cuda:
            torch.baddbmm(base, rows @ a.mT, b.mT, alpha=scale, out=into)
            return out
        for i in range(len(a)):
            torch.addmm(base[i], rows[i] @ a[i].mT, b[i].mT, alpha=scale, out=into[i])
        return out


_operator = torch.library.custom_op('mtpeft::low_rank_add', _add, mutates_args=())


def _shape(x: Sequence[int], a: Sequence[int], b: Sequence[int], x_lanes: bool) -> list[int]:
    lanes = [a[0]] if len(a) == 3 else []
    return [*lanes, *x[1 if x_lanes else 0 : -1], b[-2]]


def _rows(x: Tensor, lanes: int, stacked: bool) -> Tensor:
    """``(L, rows, channels)``; what all lanes share is not copied."""
    return x.flatten(1, -2) if stacked else x.flatten(0, -2).expand(lanes, -1, -1)


@_operator.register_fake
def _(frozen, x, a, b, scale, frozen_lanes=False, x_lanes=False):  # noqa: ANN001, ANN202
    return frozen.new_empty(_shape(x.shape, a.shape, b.shape, x_lanes))


def products(
    grad: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, x_lanes: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, A and B."""
    with torch.autocast(x.device.type, enabled=False):
        low_a, low_b = (scale * a).to(x.dtype), b.to(x.dtype)
        if a.ndim == 2:
            d_x, d_a, d_b = _of_one(grad.flatten(0, -2), x.flatten(0, -2), low_a, low_b)
            return d_x.view(x.shape), (scale * d_a).to(a.dtype), d_b.to(b.dtype)
        grad, rows = grad.flatten(1, -2), _rows(x, len(a), x_lanes)
        if x.is_cuda:
            d_x, d_a, d_b = _of_one(grad, rows, low_a, low_b)
            d_x = d_x if x_lanes else d_x.sum(0)
        else:
            d_x, d_as, d_bs = torch.empty_like(x).view(-1, *rows.shape[1:]), [], []
            for i in range(len(a)):
                # lanes that share x add up
                into, beta = (d_x[i], 0) if x_lanes else (d_x[0], min(i, 1))
                _, one_a, one_b = _of_one(grad[i], rows[i], low_a[i], low_b[i], into, beta)
                d_as.append(one_a)
                d_bs.append(one_b)
            d_a, d_b = torch.stack(d_as), torch.stack(d_bs)
        return d_x.view(x.shape), (scale * d_a).to(a.dtype), d_b.to(b.dtype)


# an operator, so that a compiler need not look into the loop
_products_operator = torch.library.custom_op(
    'mtpeft::low_rank_add_backward', products, mutates_args=()
)


def _of_one(
    grad: Tensor, x: Tensor, a: Tensor, b: Tensor, into: Tensor | None = None, beta: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one stream, or of stacked ones; A is scaled, its gradient is not yet."""
    if not x.is_cuda and a.shape[-2] < _THIN:
        b = b.mT.contiguous().mT
    low = grad @ b
    d_x = low @ a if into is None else torch.addmm(into, low, a, beta=beta, out=into)
    # the other way round, grad.mT @ (x @ a.mT), takes five times as long at rank 4
    d_b = (x @ a.mT).mT @ grad
    return d_x, low.mT @ x, d_b.mT.contiguous()


@_products_operator.register_fake
def _(grad, x, a, b, scale, x_lanes):  # noqa: ANN001, ANN202
    return torch.empty_like(x), torch.empty_like(a), torch.empty_like(b)


def _setup(ctx, inputs, output) -> None:  # noqa: ANN001
    _, x, a, b, ctx.scale, ctx.frozen_lanes, ctx.x_lanes = inputs
    ctx.save_for_backward(x, a, b)


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
    return _gradients(ctx, grad, _products_operator)


def _eager_backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
    return _gradients(ctx, grad, products)


def _gradients(
    ctx, grad: Tensor, of_products: Callable[..., tuple]  # noqa: ANN001
) -> tuple[Tensor | None, ...]:  # fmt: skip
    x, a, b = ctx.saved_tensors
    d_frozen = None
    if ctx.needs_input_grad[0]:
        d_frozen = grad if a.ndim == 2 or ctx.frozen_lanes else grad.sum(0)
    products = of_products(grad.contiguous(), x, a, b, ctx.scale, ctx.x_lanes)
    return d_frozen, *products, None, None, None


_operator.register_autograd(_backward, setup_context=_setup)
_eager = eager(_operator, _add, _setup, _eager_backward)


@_operator.register_vmap
def _(info, in_dims, frozen, x, a, b, scale, frozen_lanes=False, x_lanes=False):  # noqa: ANN001, ANN202
    dims = in_dims[:4]
    if a.ndim - (dims[2] is not None) != 2 or x.ndim - (dims[1] is not None) < 2:
        raise ValueError(
            'mtpeft::low_rank_add is mapped once, over lanes of A and B, and x has rows, '
            '(..., rows, in).'
        )
    tensors = [
        t if d is None else t.movedim(d, 0) for t, d in zip((frozen, x, a, b), dims, strict=True)
    ]
    frozen, x, a, b = tensors
    if dims[2] is None and dims[3] is None:
        # nothing is the lane's own but its rows
        frozen = frozen if dims[0] is not None else frozen.expand(info.batch_size, *frozen.shape)
        x = x if dims[1] is not None else x.expand(info.batch_size, *x.shape)
        return _operator(frozen, x, a, b, scale, False, False), 0
    a, b = (
        t if d is not None else t.expand(info.batch_size, *t.shape)
        for t, d in ((a, dims[2]), (b, dims[3]))
    )
    return _operator(frozen, x, a, b, scale, dims[0] is not None, dims[1] is not None), 0


@register_flop_formula(torch.ops.mtpeft.low_rank_add)
def _flops(frozen_shape, x_shape, a_shape, b_shape, scale, frozen_lanes=False, x_lanes=False, **_):  # noqa: ANN001, ANN003, ANN202
    """Operations of the forward pass (two a multiply-add)."""
    lanes = a_shape[0] if len(a_shape) == 3 and not x_lanes else 1
    rows = lanes * math.prod(x_shape[:-1])
    return 2 * rows * a_shape[-2] * (a_shape[-1] + b_shape[-2])


@register_flop_formula(torch.ops.mtpeft.low_rank_add_backward)
def _flops_backward(grad_shape, x_shape, a_shape, b_shape, *_, **__):  # noqa: ANN001, ANN002, ANN003, ANN202
    """Operations of the backward pass: A x, and twice each of the two products."""
    rows = math.prod(grad_shape[:-1])
    return 2 * rows * a_shape[-2] * (3 * a_shape[-1] + 2 * b_shape[-2])
