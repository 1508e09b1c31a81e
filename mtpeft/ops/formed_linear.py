"""A Linear layer with a low-rank change of its weight, run on the weight that was formed."""

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from mtpeft.ops.eager_op import eager

#: ways to the gradients of A and B: products of their rank, or one of the weight's whole gradient
THIN, FULL = True, False

# What a pass over one number costs in multiply-adds, as docs/measure_formed_linear.py shows them.
_PASS = 16


def formed_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    gain: Tensor | None,
    scale: float,
    thin: bool,
) -> Tensor:
    r"""A layer whose frozen weight is changed at low rank, for one stream or for ``L`` lanes.

    .. math:: y = x W^T + b, \qquad W = \mathrm{diag}(g)\, (W_0 + s\, B A)

    The forward pass is one product with W. The backward pass forms W again, so neither W nor
    anything of rank size is kept. The gradients of A and B are, with G that of y,

    .. math::
        \text{thin:}\; & \nabla_B = s\, \mathrm{diag}(g)\, G^T (x A^T), \quad
                         \nabla_A = s\, (G\, \mathrm{diag}(g) B)^T x \\
        \text{full:}\; & \nabla_V = \mathrm{diag}(g)\, G^T x, \quad
                         \nabla_B = s\, \nabla_V A^T, \quad \nabla_A = s\, B^T \nabla_V

    which cost ``2 N r (in + out)`` and ``N in out`` multiply-adds for N rows of x: the layer's
    width and the rank decide which is less. W is formed in the precision of W0 and then taken to
    that of x. Under ``torch.vmap`` over stacked factors the rows of all lanes are one batched
    product.

    Args:
        x: ``(..., in)``; of lanes ``(L, ..., in)``.
        weight: W0 ``(out, in)``.
        bias: ``(out,)`` or ``None``, of x's type.
        a: A ``(r, in)``; of lanes ``(L, r, in)``.
        b: B ``(out, r)``; of lanes ``(L, out, r)``.
        gain: g ``(out,)``; of lanes ``(L, out)``; ``None`` for 1. The thin way takes its gradient
            from the output, ``sum (y - b) G / g``, which is 0 where g is 0.
        scale: s.
        thin: The way to the gradients. W0 gets one on the full way only.

    Returns:
        ``(..., out)``; of lanes ``(L, ..., out)``.

    Example:
        >>> x, w, a, b = torch.rand(5, 3), torch.rand(4, 3), torch.rand(2, 3), torch.rand(4, 2)
        >>> y = formed_linear(x, w, None, a, b, None, 1.0, THIN)
        >>> torch.allclose(y, x @ (w + b @ a).T)
        True
    """
    return _eager(x, weight, bias, a, b, gain, scale, thin)


def _product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    gain: Tensor | None,
    scale: float,
    thin: bool,
) -> Tensor:
    formed = _form(weight, a, b, gain, scale).to(x.dtype)
    # written into, since the result must be no view: a network may change it in place
    out = x.new_empty(*x.shape[:-1], formed.shape[-2])
    start = a.ndim - 2
    rows, into = x.flatten(start, -2), out.view(*out.shape[:start], -1, out.shape[-1])
    if bias is None:
        torch.matmul(rows, formed.mT, out=into)
    else:
        (torch.baddbmm if start else torch.addmm)(bias, rows, formed.mT, out=into)
    return out


_operator = torch.library.custom_op('mtpeft::formed_linear', _product, mutates_args=())


def _form(
    weight: Tensor, a: Tensor, b: Tensor, gain: Tensor | None, scale: float
) -> Tensor:  # fmt: skip
    """W ``(out, in)``, or ``(L, out, in)``."""
    # autocast would form it in half precision, where a small change of W0 is lost
    with torch.autocast(weight.device.type, enabled=False):
        a, b = a.to(weight.dtype), b.to(weight.dtype)
        product = torch.addmm if a.ndim == 2 else torch.baddbmm
        formed = product(weight, b, a, alpha=scale)
        return formed if gain is None else formed * gain.to(weight.dtype)[..., None]


@_operator.register_fake
def _(x, weight, bias, a, b, gain, scale, thin):  # noqa: ANN001, ANN202
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _setup(ctx, inputs, output) -> None:  # noqa: ANN001
    x, weight, bias, a, b, gain, ctx.scale, ctx.thin = inputs
    kept = output if ctx.thin and gain is not None else None
    ctx.save_for_backward(x, weight, bias, a, b, gain, kept)


def _backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
    x, weight, bias, a, b, gain, out = ctx.saved_tensors
    need_x, need_weight, need_bias, need_a, need_b, need_gain = ctx.needs_input_grad[:6]
    scale, low = ctx.scale, x.dtype
    with torch.autocast(x.device.type, enabled=False):
        d_x = d_weight = d_bias = d_a = d_b = d_gain = None
        lanes, shape = a.ndim == 3, x.shape
        x, grad = (t.flatten(1 if lanes else 0, -2) for t in (x, grad))
        if need_x:
            d_x = (grad @ _form(weight, a, b, gain, scale).to(low)).view(shape)
        if need_bias:
            d_bias = grad.flatten(0, -2).sum(0)
        if ctx.thin:
            gained = b if gain is None else b * gain[..., None]
            if need_b:
                d_b = scale * ((x @ a.to(low).mT).mT @ grad).mT.to(b.dtype)
                d_b = d_b if gain is None else d_b * gain[..., None]
            if need_a:
                d_a = scale * ((grad @ gained.to(low)).mT @ x).to(a.dtype)
            if need_gain:
                out = out.flatten(1 if lanes else 0, -2)
                change = out if bias is None else out - bias
                total = (change * grad).sum(-2, dtype=gain.dtype)
                d_gain = torch.where(gain == 0, 0, total / torch.where(gain == 0, 1, gain))
        elif need_weight or need_a or need_b or need_gain:
            d_formed = (grad.mT @ x).to(weight.dtype)
            if need_gain:
                d_gain = (d_formed * _form(weight, a, b, None, scale)).sum(-1).to(gain.dtype)
            if gain is not None:
                d_formed = d_formed * gain[..., None]
            d_b = scale * (d_formed @ a.mT) if need_b else None
            d_a = scale * (b.mT @ d_formed) if need_a else None
            if need_weight:
                d_weight = d_formed.sum(0) if lanes else d_formed
    return d_x, d_weight, d_bias, d_a, d_b, d_gain, None, None


_operator.register_autograd(_backward, setup_context=_setup)
_eager = eager(_operator, _product, _setup, _backward)


@_operator.register_vmap
def _(info, in_dims, x, weight, bias, a, b, gain, scale, thin):  # noqa: ANN001, ANN202
    x_dim, weight_dim, bias_dim, a_dim, b_dim, gain_dim = in_dims[:6]
    if weight_dim is not None or bias_dim is not None or x.ndim - (x_dim is not None) < 2:
        raise ValueError(
            'mtpeft::formed_linear is mapped over lanes of x, A, B and the gain; the frozen weight '
            'and bias are the same for all, and x has rows, (..., rows, in).'
        )
    if a_dim is None and b_dim is None and gain_dim is None:
        out = _operator(x.movedim(x_dim, 0), weight, bias, a, b, gain, scale, thin)
        return out, 0

    def stacked(tensor: Tensor | None, dim: int | None) -> Tensor | None:
        if tensor is None:
            return None
        if dim is None:
            return tensor.expand(info.batch_size, *tensor.shape)
        return tensor.movedim(dim, 0)

    x, a, b = stacked(x, x_dim), stacked(a, a_dim), stacked(b, b_dim)
    return _operator(x, weight, bias, a, b, stacked(gain, gain_dim), scale, thin), 0


@register_flop_formula(torch.ops.mtpeft.formed_linear)
def _flops(x_shape, weight_shape, bias_shape, a_shape, *args, out_shape=None, **kwargs) -> int:  # noqa: ANN001, ANN002, ANN003
    """Operations of the forward pass (two a multiply-add), with forming the weight."""
    rows, lanes = 1, 1
    for side in x_shape[:-1]:
        rows *= side
    for side in a_shape[:-2]:
        lanes *= side
    out, inner = weight_shape
    return 2 * out * inner * (rows + lanes * a_shape[-2])


def best_form(
    rows: int,
    inner: int,
    outer: int,
    rank: int,
    gain: bool = False,
    lanes: int = 1,
    same_input: bool = False,
    grad: bool = True,
    output_stays: bool = True,
) -> str:
    """The cheapest way through a layer, by counting.

    Multiply-adds beyond those of the frozen layer, and passes over memory in the same unit; the
    counts agree within a tenth with times on a CPU (``docs/measure_formed_linear.py``).

    Args:
        rows: Of the input, of one lane.
        inner: Width of the input.
        outer: Width of the output.
        rank: r.
        gain: Is there a gain of each row?
        lanes: Number of lanes that are run at once.
        same_input: All lanes see the same input, which passes the frozen weight once.
        grad: Is there a backward pass?
        output_stays: Nobody changes the output in place, so the thin way may keep it for the
            gradient of a gain.

    Returns:
        ``'plain'`` (frozen layer and low-rank product side by side), ``'thin'`` or ``'full'``
        (:func:`formed_linear`).

    Example:
        >>> best_form(rows=25088, inner=96, outer=96, rank=64)
        'full'
        >>> best_form(rows=1568, inner=384, outer=1536, rank=64)
        'thin'
        >>> best_form(rows=98, inner=768, outer=3072, rank=64)
        'plain'
    """
    low, entries, out = rows * rank * (inner + outer), inner * outer, rows * outer
    frozen_again = rows * entries * (lanes - 1) / lanes if same_input else 0
    if not grad:
        plain = low + 2 * _PASS * out * (1 + gain)
        formed = frozen_again + entries * (rank + 2 * _PASS)
        return 'thin' if formed < plain else 'plain'
    again = 2 * frozen_again
    costs = dict(
        plain=3 * low + 4 * _PASS * out * (1 + gain),
        thin=again + 2 * low + entries * (2 * rank + 3 * _PASS) + 3 * _PASS * out * gain,
        full=again + entries * (rows + 4 * rank + (4 + 2 * gain) * _PASS),
    )
    if gain and not output_stays:
        del costs['thin']
    return min(costs, key=costs.get)
