"""A convolution with a kernel that is made of parameters, and made again instead of kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.ops.linear_formed_again import (
    Make,
    formed_of_lanes,
    gathered,
    groups_of_lanes,
    in_front,
    of_lanes,
)


class Geometry(NamedTuple):
    """Of a convolution with ``groups=1``: a pair ``(vertical, horizontal)`` each."""

    stride: Sequence[int] = (1, 1)
    padding: Sequence[int] = (0, 0)
    dilation: Sequence[int] = (1, 1)


def conv_formed_again(
    x: Tensor, bias: Tensor | None, make: Make, geometry: Geometry, *sources: Tensor
) -> Tensor:
    r"""A lane's convolution with a kernel that is formed in the forward and in the backward pass.

    .. math:: y_t = K_t * x_t + b, \qquad K_t = \mathrm{make}(s_t)

    :func:`~mtpeft.ops.linear_formed_again.linear_formed_again` of maps. Kept for the backward pass
    are x and the sources s, but no kernel, which is k * k times as large as the matrix of a Linear
    layer of the same width. On a CPU lanes are formed and passed one after another, so that one
    kernel is there at a time; elsewhere all lanes are one convolution, grouped where each has an x
    of its own. Under ``torch.vmap`` over lanes, x and any of the sources may be mapped.

    Args:
        x: ``(B, in, H, W)``.
        bias: b ``(out,)`` or ``None``, of x's type and the same for all lanes.
        make: Gets ``sources`` with an axis of lanes in front, of n or of 1, and gives ``(n, out,
            in, k, k)``. What it reads besides gets no gradient.
        geometry: Stride, padding and dilation.
        sources: Tensors.

    Returns:
        ``(B, out, H', W')``, of x's type and memory format.

    Example:
        >>> x, a, b = torch.rand(1, 3, 5, 5), torch.rand(2, 3), torch.rand(4, 2)
        >>> y = conv_formed_again(x, None, lambda a, b: (b @ a)[..., None, None], Geometry(), a, b)
        >>> torch.allclose(y, F.conv2d(x, (b @ a)[..., None, None]), atol=1e-6)
        True
    """
    return _ConvFormedAgain.apply(x[None], bias, make, geometry, *(s[None] for s in sources))[0]


class _ConvFormedAgain(torch.autograd.Function):
    """The same with lanes in front: ``(L or 1, B, in, H, W)``, and sources ``(L or 1, ...)``."""

    @staticmethod
    def forward(
        x: Tensor, bias: Tensor | None, make: Make, geometry: Geometry, *sources: Tensor
    ) -> Tensor:
        count, out = max(map(len, (x, *sources))), None
        with torch.autocast(x.device.type, enabled=False):
            for lanes in groups_of_lanes(x, count):
                kernel = formed_of_lanes(make, of_lanes(sources, lanes), lanes, count)
                maps, groups = _maps(x, lanes, len(kernel))
                biases = None if bias is None else bias.repeat(len(kernel))
                y = F.conv2d(maps, kernel.to(x.dtype).flatten(0, 1), biases, *geometry, groups)
                if out is None:
                    out = _empty_lanes(y, count, kernel.shape[1])
                out[lanes] = _apart(y, len(kernel))
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.make, ctx.geometry, *sources = inputs
        ctx.save_for_backward(x, *sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *sources = ctx.saved_tensors
        need_x, need_bias, _, _, *needs = ctx.needs_input_grad
        wanted = [i for i, need in enumerate(needs) if need]
        found: dict[int, list[Tensor]] = {i: [] for i in wanted}
        d_x: list[Tensor] = []
        with torch.autocast(x.device.type, enabled=False):
            for lanes in groups_of_lanes(x, len(grad)):
                own = [s.detach() for s in of_lanes(sources, lanes)]
                with torch.enable_grad():
                    own = [s.requires_grad_(i in wanted) for i, s in enumerate(own)]
                    kernel = formed_of_lanes(ctx.make, own, lanes, len(grad))
                maps, groups = _maps(x, lanes, len(kernel))
                weight = kernel.detach().to(x.dtype).flatten(0, 1)
                d_maps, d_weight, _ = torch.ops.aten.convolution_backward(
                    _side_by_side(grad[lanes]), maps, weight, None, *ctx.geometry,
                    False, (0, 0), groups, (need_x, bool(wanted), False),
                )  # fmt: skip
                if need_x:
                    d_x = gathered(d_x, _apart(d_maps, groups), x)
                if wanted:
                    d_kernel = d_weight.view(kernel.shape).to(kernel.dtype)
                    d_own = torch.autograd.grad(kernel, [own[i] for i in wanted], d_kernel)
                    for i, d_one in zip(wanted, d_own, strict=True):
                        found[i] = gathered(found[i], d_one, sources[i])
        d_bias = grad.sum((0, 1, 3, 4)) if need_bias else None
        d_sources = (torch.cat(found[i]) if i in found else None for i in range(len(sources)))
        return torch.cat(d_x) if need_x else None, d_bias, None, None, *d_sources

    @staticmethod
    def vmap(
        info: Any,
        in_dims: Sequence[int | None],
        x: Tensor,
        bias: Tensor | None,
        make: Make,
        geometry: Geometry,
        *sources: Tensor,
    ) -> tuple[Tensor, int]:
        x_dim, bias_dim, _, _, *dims = in_dims
        if bias_dim is not None:
            raise ValueError('conv_formed_again has one bias for all lanes, got one for each')
        # (lanes that read the same x stay one convolution)
        x, *sources = in_front((x, *sources), (x_dim, *dims))
        out = _ConvFormedAgain.apply(x, bias, make, geometry, *sources)
        return out.unsqueeze(1), 0


def _maps(x: Tensor, lanes: slice, count: int) -> tuple[Tensor, int]:
    """What ``count`` lanes convolve, ``(B, groups * in, H, W)``, and the groups."""
    if len(x) == 1:
        return x[0], 1
    return _side_by_side(x[lanes]), count


def _side_by_side(lanes: Tensor) -> Tensor:
    """``(n, B, C, H, W)`` as ``(B, n * C, H, W)``."""
    return lanes.movedim(0, 1).flatten(1, 2)


def _apart(maps: Tensor, count: int) -> Tensor:
    """``(B, n * C, H, W)`` as ``(n, B, C, H, W)``, a view."""
    return maps.unflatten(1, (count, -1)).movedim(1, 0)


def _empty_lanes(maps: Tensor, count: int, channels: int) -> Tensor:
    """Place for lanes ``(count, B, channels, H, W)``, each in the memory format of ``maps``.

    No view, since a network may change a layer's output in place.
    """
    batch, _, *size = maps.shape
    plain = maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last)
    order = torch.contiguous_format if plain else torch.channels_last
    one = torch.empty((batch, channels, *size), device='meta', memory_format=order)
    shape, stride = (count, *one.shape), (one.numel(), *one.stride())
    return torch.empty_strided(shape, stride, dtype=maps.dtype, device=maps.device)
