"""The dynamic task filter of TADFormer (arXiv 2501.04293)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.utils.exporting import exported

_TAPS = 9


class DynamicTaskFilter(nn.Module):
    r"""A depthwise 3 x 3 filter that every sample makes for itself (TADFormer).

    With z a sample's low-rank features ``(r, h, w)`` and c ``(r, 9)``:

    .. math::
        c = W \operatorname{mean}_{h,w}(z) + b, \qquad
        k_i = \sigma_i \odot \frac{c_i - \operatorname{mean}_9 c_i}{\operatorname{std}_9 c_i
              + 10^{-10}} + \mu_i, \qquad
        \operatorname{out}_i = k_i * z_i

    k_i is the 3 x 3 kernel of channel i, row by row; the map is padded with zeros. The standard
    deviation has divisor 8. W and b start uniform in +-1/sqrt(r), :math:`\sigma` normal with
    deviation sqrt(2)/3, :math:`\mu` standard normal. Kernels are made in float32 at least.

    Args:
        rank: Channels r.

    Shapes:
        Input and output ``(..., r, h, w)``; every leading index is a sample.

    Example:
        >>> DynamicTaskFilter(4)(torch.randn(2, 3, 4, 7, 7)).shape
        torch.Size([2, 3, 4, 7, 7])
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_TAPS * rank, rank))
        self.bias = nn.Parameter(torch.empty(_TAPS * rank))
        self.std = nn.Parameter(torch.empty(_TAPS * rank))
        self.mean = nn.Parameter(torch.empty(_TAPS * rank))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The start that the class names."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        nn.init.normal_(self.std, std=2**0.5 / 3)
        nn.init.normal_(self.mean)

    def kernels(self, z: Tensor) -> Tensor:
        """The kernels ``(..., r, 3, 3)`` of the samples ``(..., r, h, w)``."""
        low = z.dtype in (torch.float16, torch.bfloat16)
        # float16 has no 1e-10: a channel with nine equal entries would give 0 / 0
        with torch.autocast(z.device.type, enabled=False):
            pooled = z.mean((-2, -1), dtype=torch.float32 if low else None)
            shape = (-1, _TAPS)
            c = F.linear(pooled.to(self.weight.dtype), self.weight, self.bias).unflatten(-1, shape)
            c = (c - c.mean(-1, keepdim=True)) / (c.std(-1, keepdim=True) + 1e-10)
            k = c * self.std.view(shape) + self.mean.view(shape)
        return k.unflatten(-1, (3, 3)).to(z.dtype)

    def forward(self, z: Tensor) -> Tensor:
        return depthwise(z, self.kernels(z))


def depthwise(z: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of ``z`` ``(..., r, h, w)`` under its own kernel ``(..., r, 3, 3)``.

    The map is padded with zeros. Leading axes broadcast, so samples may have kernels of their own.

    Example:
        >>> depthwise(torch.ones(1, 1, 2, 2), torch.ones(1, 3, 3)).flatten().tolist()
        [4.0, 4.0, 4.0, 4.0]
    """
    if exported():  # groups are a number, which would be that of the pictures
        return _by_taps(z, kernel)
    channels = math.prod(z.shape[:-2])
    kernel = kernel.expand(*z.shape[:-2], 3, 3).reshape(channels, 1, 3, 3)
    # one convolution whose groups are the channels of all samples
    out = F.conv2d(z.reshape(1, channels, *z.shape[-2:]), kernel, padding=1, groups=channels)
    return out.view(z.shape)


def _by_taps(z: Tensor, kernel: Tensor) -> Tensor:
    """The same as a sum of nine shifted maps."""
    (height, width), padded = z.shape[-2:], F.pad(z, (1, 1, 1, 1))
    return sum(
        kernel[..., i, j, None, None] * padded[..., i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
    )
