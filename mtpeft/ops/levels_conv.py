"""A 1x1 convolution of levels that are brought to one size, in the order that is cheaper."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.ops.plain import plain_ops
from mtpeft.structures.levels import Levels, check_levels, concatenate, largest

# The order for rows and columns takes more time per multiply-add than one large product.
_SLOWER = 2


def convolve_levels(
    levels: Levels, widths: Sequence[int], weight: Tensor, bias: Tensor | None
) -> Tensor:
    r"""``Conv1x1(concat(upsample(levels)))``, bilinear with ``align_corners`` off.

    A 1x1 convolution commutes with resampling: each smaller level is convolved at its own size and
    then upsampled, where that takes less. Upsampling is linear in rows and in columns,

    .. math:: y = W_1 x_1 + b + \sum_i U^h_i\, (W_i x_i)\, {U^w_i}^T

    so that the sum over all smaller levels is one product, and neither the concatenated map nor
    upsampled ones are kept for the backward pass. On other devices than a CPU, in half precision
    and where all levels have one size, the levels are upsampled first.

    Args:
        levels: ``(B, C_i, h_i, w_i)``.
        widths: The C_i.
        weight: ``(out, sum of C_i, 1, 1)``.
        bias: ``(out,)`` or ``None``.

    Returns:
        ``(B, out, h, w)`` at the size of the largest level.

    Raises:
        ValueError: the number of levels is not that of ``widths``.

    Example:
        >>> levels = torch.rand(2, 3, 8, 8), torch.rand(2, 4, 4, 4)
        >>> convolve_levels(levels, (3, 4), torch.rand(5, 7, 1, 1), None).shape
        torch.Size([2, 5, 8, 8])
    """
    check_levels(levels, widths)
    if not _cheaper_apart(levels, widths):
        return F.conv2d(concatenate(levels, widths), weight, bias)
    return _at_own_sizes(levels, widths, weight, bias)


def _cheaper_apart(levels: Levels, widths: Sequence[int]) -> bool:
    x = levels[0]
    half = x.dtype not in (torch.float32, torch.float64)
    if x.device.type != 'cpu' or half or torch.is_autocast_enabled('cpu') or plain_ops():
        return False
    height, width = size = largest(levels)
    together, apart = sum(widths) * height * width, 0
    for level, channels in zip(levels, widths, strict=True):
        h, w = level.shape[-2:]
        apart += channels * h * w
        if (h, w) != size:
            apart += _SLOWER * (h * w * width + height * h * width)
    return apart < together


def _at_own_sizes(
    levels: Levels, widths: Sequence[int], weight: Tensor, bias: Tensor | None
) -> Tensor:
    height, width = size = largest(levels)
    groups: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    for level, part in zip(levels, weight.split(tuple(widths), 1), strict=True):
        groups.setdefault(tuple(level.shape[-2:]), []).append((level, part))
    out, rows, columns = None, [], []
    for (h, w), members in groups.items():
        x, part = (_join(each) for each in zip(*members, strict=True))
        own = F.conv2d(x, part)
        if (h, w) == size:
            out = own.contiguous()  # whatever layout convolutions chose
            continue
        columns.append((own.reshape(-1, w) @ _upsampling(w, width, x).T).view(-1, h, width))
        rows.append(_upsampling(h, height, x))
    if bias is not None:  # one more column, so that it takes no pass over the map
        columns.append(bias[:, None, None].expand(-1, 1, width).repeat(len(out), 1, 1))
        rows.append(out.new_ones(height, 1))
    add = _add_product if torch.compiler.is_compiling() else _AddProduct.apply
    return add(out, torch.cat(rows, 1), torch.cat(columns, 1))


def _add_product(out: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``out + rows @ columns``: ``(B, C, H, W)``, ``(H, k)``, ``(B C, k, W)``."""
    start = out.reshape(-1, *out.shape[2:])
    return torch.baddbmm(start, rows.expand(len(start), -1, -1), columns).view(out.shape)


class _AddProduct(torch.autograd.Function):
    """The same, in place; autograd's own way to write into a view copies the map."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.mark_dirty(out)
        start = out.view(-1, *out.shape[2:])
        torch.baddbmm(start, rows.expand(len(start), -1, -1), columns, out=start)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
        (rows,) = ctx.saved_tensors
        upper = grad.reshape(-1, *grad.shape[2:])
        return grad, None, rows.mT.expand(len(upper), -1, -1) @ upper


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _upsampling(n: int, m: int, like: Tensor) -> Tensor:
    """U ``(m, n)``: ``U @ x`` brings n values to m."""
    eye = torch.eye(n, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(eye, size=m, mode='linear', align_corners=False)[0].T.contiguous()
