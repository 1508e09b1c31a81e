"""timm's Pyramid Vision Transformer V2, MTLoRA's second backbone."""

from timm.models.pvt_v2 import PyramidVisionTransformerV2
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage


class TimmPVT(Family):
    """PVT v2 of timm: a stage is an overlapping patch embedding, blocks and a norm.

    The next stage's embedding counts as patch merging. ``qkv`` are two layers, ``q`` of all tokens
    and ``kv`` of a smaller map, which ``sr`` makes.
    """

    name = 'timm PVT v2'
    layout = 'NHWC'
    roles = {
        'qkv': r'attn\.(q|kv)',
        'proj': r'attn\.proj',
        'fc1': r'mlp\.fc1',
        'fc2': r'mlp\.fc2',
        'sr': r'attn\.sr',
        'reduction': r'downsample\.proj',
    }
    groups = {
        'block_norms': r'.*\.norm\d?\.(weight|bias)',
        'patch_embed': r'patch_embed\.proj\..*',
        'reduction': r'.*downsample\.proj\..*',
    }
    unread = ('head.',)
    on_map = r'attn\.(q|proj)|mlp\.fc[12]'

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, PyramidVisionTransformerV2)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        widths = [info['num_chs'] for info in network.feature_info]
        stages = []
        for i, (stage, info) in enumerate(zip(network.stages, network.feature_info, strict=True)):
            blocks = [f'stages.{i}.blocks.{j}' for j in range(len(stage.blocks))]
            last = i + 1 == len(network.stages)
            stages.append(
                Stage(
                    blocks=blocks,
                    lane_block=blocks[-1],
                    merge=None if last else f'stages.{i + 1}.downsample',
                    channels=widths[i],
                    merged_channels=widths[i] if last else widths[i + 1],
                    stride=info['reduction'],
                    end=f'stages.{i}.norm',
                )
            )
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        return network.patch_embed(x)

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        size = self.size(x)
        return block(x.flatten(1, 2), size).unflatten(1, size)

    def run_merge(self, merge: nn.Module, x: Tensor) -> Tensor:
        return merge(x.permute(0, 3, 1, 2))
