"""timm's EfficientNet and MobileNet families."""

from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage, measure


class TimmEfficientNet(Family):
    """EfficientNet and MobileNet of timm: lane blocks are the last at strides 4 to 32.

    BatchNorm inside a lane uses its frozen running statistics.

    A depthwise-separable block has one pointwise convolution, ``conv_pw``, which counts as
    ``expand``. The small MobileNet V3 has such a block at stride 4: its lane needs
    ``targets=['expand', 'project']``.
    """

    name = 'timm EfficientNet and MobileNet'
    roles = {
        'expand': r'conv_pw|pw_exp\.conv',
        # a bare convolution as last block (MobileNet V3) counts as a projection
        'project': r'conv_pwl|pw_proj\.conv|blocks\.\d+\.\d+\.conv',
    }
    groups = {
        'block_norms': r'(.*\.)?bn\d?\w*\.(weight|bias)',
        'stem': r'conv_stem\..*',
    }
    unread = ('conv_head.', 'bn2.', 'norm_head.', 'classifier.')

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, (EfficientNet, MobileNetV3))

    def make_stages(self, network: nn.Module) -> list[Stage]:
        maps = measure(network, self._block_maps)
        sides = [m.shape[-1] for m in maps]
        last = {side: i for i, side in enumerate(sides)}  # the last block at every stride
        names = [f'blocks.{i}.{j}' for i, s in enumerate(network.blocks) for j in range(len(s))]
        ends = [last[side] for side in sorted(last, reverse=True) if side <= 64 // 4]
        stages, start = [], 0
        for end in ends:
            channels = maps[end].shape[1]
            stages.append(
                Stage(
                    blocks=names[start : end + 1],
                    lane_block=names[end],
                    merge=None,
                    channels=channels,
                    merged_channels=channels,
                    stride=64 // sides[end],
                )
            )
            start = end + 1
        return stages

    def _block_maps(self, network: nn.Module, x: Tensor) -> list[Tensor]:
        x = self.stem(network, x)
        maps = []
        for stage in network.blocks:
            for block in stage:
                x = block(x)
                maps.append(x)
        return maps

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        return network.bn1(network.conv_stem(x))

    @property
    def patch_size(self) -> int:
        return 1
