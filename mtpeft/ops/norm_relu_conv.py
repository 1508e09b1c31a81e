"""Norm, ReLU and a 1x1 convolution of a wide map, some of its channels at a time."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.ops.levels_conv import convolve_levels
from mtpeft.ops.plain import plain_ops
from mtpeft.structures.levels import Levels

# Numbers of one run of channels, for each thread: what is fastest with its copies in a cache, and
# where each run is a product with all levels.
_RUN, _RUN_OF_LEVELS = 1 << 18, 1 << 20


def norm_relu_conv(x: Tensor, norm: nn.Module, conv: nn.Conv2d) -> Tensor:
    r"""``conv(ReLU(norm(x)))`` of a map that nobody else reads.

    In training on a CPU, with batch statistics, x is all that is kept for the backward pass, and
    neither what the norm nor what ReLU makes of it is ever there as a whole: with
    :math:`z = \mathrm{ReLU}(\alpha x + \beta)`, :math:`\alpha = \gamma / \sigma` and
    :math:`\beta = b - \alpha \mu`, each run of channels of z is added to the output and forgotten,
    and made once more in the backward pass. Elsewhere the three modules are called.

    Args:
        x: ``(B, C, H, W)``.
        norm: A norm over C channels.
        conv: A convolution of C channels.

    Returns:
        ``(B, out, H', W')``.

    Example:
        >>> x = torch.rand(2, 8, 4, 4, requires_grad=True)
        >>> norm_relu_conv(x, nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1)).shape
        torch.Size([2, 3, 4, 4])
    """
    in_runs = torch.is_grad_enabled() and x.requires_grad and _trains_on_batches(norm)
    # of one value a channel there is no variance, which the norm itself says
    in_runs = in_runs and _is_pointwise(conv) and not _watched(norm, conv)
    if not (in_runs and _on_cpu(x)) or x.numel() == x.shape[1]:
        return conv(F.relu(norm(x), inplace=True))
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    out, mean, variance = _NormReLUConv.apply(
        x, norm.weight, norm.bias, conv.weight, conv.bias, norm.eps
    )
    if norm.running_mean is not None:
        count = x.numel() // x.shape[1]
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return out


def conv_norm_relu_conv(
    levels: Levels, widths: tuple[int, ...], first: nn.Conv2d, norm: nn.Module, last: nn.Conv2d
) -> Tensor:
    """``last(ReLU(norm(first(levels))))``, see :func:`convolve_levels` and :func:`norm_relu_conv`.

    At inference on a CPU the wide map between the convolutions is made run by run too.
    """
    x = levels[0]
    known = isinstance(norm, nn.Identity) or type(norm) is nn.BatchNorm2d and _has_statistics(norm)
    known = known and _is_pointwise(last) and not _watched(first, norm, last)
    if torch.is_grad_enabled() or not (known and _on_cpu(x)):
        x = convolve_levels(levels, widths, first.weight, bias_before(norm, first.bias))
        return norm_relu_conv(x, norm, last)
    scale, shift = None, None
    if isinstance(norm, nn.BatchNorm2d):
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
    out, places = None, max(level[0, 0].numel() for level in levels)
    for run in _runs(len(first.weight), len(x) * places, _RUN_OF_LEVELS):
        bias = None if first.bias is None else first.bias[run]
        z = convolve_levels(levels, widths, first.weight[run], bias)
        if scale is not None:
            z.mul_(scale[run, None, None]).add_(shift[run, None, None])
        out = _add(out, z.relu_().flatten(2), last.weight, run)
    return _biased(out, last.bias, z.shape[2:])


def bias_before(norm: nn.Module, bias: Tensor | None) -> Tensor | None:
    """The bias of a convolution before a norm, with a gradient of exactly 0 where that is true.

    A norm of batch statistics takes the bias out again. What a backward pass computes for it is
    rounding, of which AdamW would make whole steps, other ones on every machine.
    """
    if bias is None or not isinstance(norm, _BatchNorm):
        return bias
    if not norm.training and norm.running_mean is not None:
        return bias
    return bias.detach() + 0 * bias


def _on_cpu(x: Tensor) -> bool:
    whole = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled('cpu')
    return x.device.type == 'cpu' and whole and not (torch.compiler.is_compiling() or plain_ops())


def _watched(*modules: nn.Module) -> bool:
    """Does somebody wait for the modules to be called?"""
    kinds = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
    return any(getattr(module, kind) for module in modules for kind in kinds)


def _trains_on_batches(norm: nn.Module) -> bool:
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and not (norm.track_running_stats and norm.momentum is None)
    )


def _has_statistics(norm: nn.BatchNorm2d) -> bool:
    return not norm.training and norm.affine and norm.running_mean is not None


def _is_pointwise(conv: nn.Module) -> bool:
    if type(conv) is not nn.Conv2d or conv.groups != 1:
        return False
    return conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)


def _runs(channels: int, numbers: int, most: int) -> Iterator[slice]:
    """Runs of channels of ``numbers`` each, ``most`` together."""
    step = max(1, most * torch.get_num_threads() // max(numbers, 1))
    return (slice(i, min(i + step, channels)) for i in range(0, channels, step))


def _add(out: Tensor | None, z: Tensor, weight: Tensor, run: slice) -> Tensor:
    """What a 1x1 convolution makes of a run of its channels ``(B, c, P)``, added to ``out``."""
    weight = weight[:, run, 0, 0].expand(len(z), -1, -1)
    # (in place by out=, which counters of operations know)
    return weight @ z if out is None else torch.baddbmm(out, weight, z, out=out)


def _biased(out: Tensor, bias: Tensor | None, size: torch.Size) -> Tensor:
    """``(B, out, H, W)`` of ``(B, out, P)``."""
    return (out if bias is None else out.add_(bias[:, None])).unflatten(2, size)


class _NormReLUConv(torch.autograd.Function):
    """The output, and mean and (biased) variance of each channel of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, out = x.flatten(2), None
        count = len(rows) * rows.shape[2]
        mean, variance = torch.empty_like(gamma), torch.empty_like(gamma)
        for run in _runs(rows.shape[1], count, _RUN):
            part = rows[:, run]
            torch.div(_sum(part), count, out=mean[run])
            z = part - mean[run, None]
            torch.div(_sum(z.square()), count, out=variance[run])
            z.mul_((gamma[run] * (variance[run] + eps).rsqrt())[:, None]).add_(beta[run, None])
            out = _add(out, z.relu_(), weight, run)
        ctx.eps = eps
        ctx.save_for_backward(x, mean, variance, gamma, beta, weight)
        ctx.mark_non_differentiable(mean, variance)
        return _biased(out, bias, x.shape[2:]), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        x, mean, variance, gamma, beta, weight = ctx.saved_tensors
        rows, upper = x.flatten(2), grad.flatten(2)
        count, inverse = len(rows) * rows.shape[2], (variance + ctx.eps).rsqrt()
        d_x, d_weight = torch.empty_like(rows), torch.empty_like(weight)
        d_gamma, d_beta = torch.empty_like(gamma), torch.empty_like(beta)
        for run in _runs(rows.shape[1], count, _RUN):
            normed = (rows[:, run] - mean[run, None]).mul_(inverse[run, None])
            z = (normed * gamma[run, None]).add_(beta[run, None]).relu_()
            d_weight[:, run, 0, 0] = (upper @ z.mT).sum(0)
            d_z = weight[:, run, 0, 0].mT.expand(len(rows), -1, -1) @ upper
            torch.ops.aten.threshold_backward.grad_input(d_z, z, 0, grad_input=d_z)
            d_beta[run] = _sum(d_z)
            d_gamma[run] = _sum(torch.mul(d_z, normed, out=z))
            d_z.sub_(d_beta[run, None] / count).sub_(normed.mul_(d_gamma[run, None] / count))
            torch.mul(d_z, (gamma[run] * inverse[run])[:, None], out=d_x[:, run])
        d_bias = upper.sum((0, 2)) if ctx.needs_input_grad[4] else None
        return d_x.view(x.shape), d_gamma, d_beta, d_weight, d_bias, None


def _sum(rows: Tensor) -> Tensor:
    """Of ``(B, c, P)``, for each channel; the inner axis first, which is fast."""
    return rows.sum(-1).sum(0)
