"""timm's ConvNeXt."""

from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage


class TimmConvNeXt(Family):
    """ConvNeXt of timm: maps ``(B, C, H, W)``, merging at the start of the next stage."""

    name = 'timm ConvNeXt'
    roles = {'fc1': r'mlp\.fc1', 'fc2': r'mlp\.fc2', 'reduction': r'downsample\.1'}
    groups = {
        'block_norms': r'.*\.blocks\.\d+\.norm\..*|.*downsample\.0\..*|stem\.1\..*',
        'patch_embed': r'stem\.0\..*',
        'reduction': r'.*downsample\.1\..*',
        'layer_scale': r'.*\.gamma',
    }
    unread = ('norm_pre.', 'head.')
    on_map = r'mlp\.fc[12]'

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, ConvNeXt)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        widths = [info['num_chs'] for info in network.feature_info]
        strides = [info['reduction'] for info in network.feature_info]
        stages = []
        for i, stage in enumerate(network.stages):
            blocks = [f'stages.{i}.blocks.{j}' for j in range(len(stage.blocks))]
            last = i + 1 == len(network.stages)
            stages.append(
                Stage(
                    blocks=blocks,
                    lane_block=blocks[-1],
                    merge=None if last else f'stages.{i + 1}.downsample',
                    channels=widths[i],
                    merged_channels=widths[i] if last else widths[i + 1],
                    stride=strides[i],
                )
            )
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        return network.stem(x)

    @property
    def patch_size(self) -> int:
        # 2 x 2 convolutions would drop the last row of an odd map
        return self.size_divisor
