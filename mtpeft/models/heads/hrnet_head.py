"""The head of HRNet on a pyramid of levels."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mtpeft.ops.norm_relu_conv import conv_norm_relu_conv
from mtpeft.registry import MODELS
from mtpeft.structures.levels import Levels
from mtpeft.utils.kinds import Size


@MODELS.register_module()
class HRNetHead(BaseModule):
    """All levels brought to the largest, concatenated, and two 1x1 convolutions.

    ``Conv1x1(ReLU(BN(Conv1x1(concat(upsample(levels))))))``, bilinear with ``align_corners``
    off (Wang et al., arXiv 1908.07919). Weights start as PyTorch draws them.

    Args:
        in_channels: Widths of the levels.
        channels: Width between the convolutions. Default: four times the sum of ``in_channels``.
        out_channels: Channels of the logits.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        ValueError: the number of levels is not the one the head was built for.

    Example:
        >>> import torch
        >>> head = HRNetHead(in_channels=(4, 8), out_channels=3)
        >>> head((torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4))).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        in_channels: Sequence[Size] = (18, 36, 72, 144),
        channels: Size | None = None,
        *,
        out_channels: int,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = tuple(in_channels)
        total = sum(self.in_channels)
        channels = 4 * total if channels is None else channels
        self.conv1 = nn.Conv2d(total, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, out_channels, 1)

    def forward(self, levels: Levels) -> Tensor:
        """Logits ``(B, out_channels, h, w)`` at the size of the largest level ``(B, C, h, w)``."""
        convs = self.conv1, self.norm, self.conv2
        return conv_norm_relu_conv(levels, self.in_channels, *convs)
