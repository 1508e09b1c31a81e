"""mmsegmentation's ResNet."""

from mmseg.models.backbones import ResNet
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage


class MMSegResNet(Family):
    """ResNet (V1c and V1d too) of mmseg: lane blocks are the last of each layer.

    BatchNorm inside a lane uses its frozen running statistics.
    """

    name = 'mmseg ResNet'
    roles = {
        'conv1': r'layer\d\.\d+\.conv1',
        'conv2': r'layer\d\.\d+\.conv2',
        'conv3': r'layer\d\.\d+\.conv3',
        'shortcut': r'downsample\.\d',
    }
    groups = {
        'block_norms': r'(.*\.)?bn\d\.(weight|bias)',
        'patch_embed': r'conv1\.weight|stem\..*',
    }

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, ResNet)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        stages, stride = [], 4
        for name, factor in zip(network.res_layers, network.strides, strict=False):
            layer = getattr(network, name)
            stride *= factor
            blocks = [f'{name}.{j}' for j in range(len(layer))]
            last = layer[-1]
            width = (last.norm3 if hasattr(last, 'norm3') else last.norm2).num_features
            stages.append(Stage(blocks, blocks[-1], None, width, width, stride))
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        if network.deep_stem:
            x = network.stem(x)
        else:
            x = network.relu(network.norm1(network.conv1(x)))
        return network.maxpool(x)

    @property
    def patch_size(self) -> int:
        return 1
