"""mmsegmentation's Mix Vision Transformer, the backbone of SegFormer."""

from mmseg.models.backbones import MixVisionTransformer
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage


class MMSegMiT(Family):
    """Mix Transformer of mmseg: a stage is an overlapping patch embedding, blocks and a norm.

    The next stage's embedding counts as patch merging. Attention is PyTorch's
    ``MultiheadAttention``, whose projections are no layers of their own and cannot be adapted.
    """

    name = 'mmseg MixVisionTransformer'
    layout = 'NHWC'
    roles = {
        'fc1': r'ffn\.layers\.0',
        'fc2': r'ffn\.layers\.4',
        'sr': r'attn\.sr',
        'reduction': r'layers\.[1-9]\.0\.projection',
    }
    groups = {
        'block_norms': r'.*\.norm\d?\.(weight|bias)|layers\.\d\.2\..*',
        'patch_embed': r'layers\.0\.0\.projection\..*',
        'reduction': r'layers\.[1-9]\.0\.projection\..*',
    }

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, MixVisionTransformer)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        widths = [layer[0].embed_dims for layer in network.layers]
        stages, stride = [], 1
        for i, layer in enumerate(network.layers):
            stride *= layer[0].projection.stride[0]
            blocks = [f'layers.{i}.1.{j}' for j in range(len(layer[1]))]
            last = i + 1 == len(network.layers)
            stages.append(
                Stage(
                    blocks=blocks,
                    lane_block=blocks[-1],
                    merge=None if last else f'layers.{i + 1}.0',
                    channels=widths[i],
                    merged_channels=widths[i] if last else widths[i + 1],
                    stride=stride,
                    end=f'layers.{i}.2',
                )
            )
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        return self.run_merge(network.layers[0][0], x.permute(0, 2, 3, 1))

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        size = self.size(x)
        return block(x.flatten(1, 2), size).unflatten(1, size)

    def run_merge(self, merge: nn.Module, x: Tensor) -> Tensor:
        tokens, size = merge(x.permute(0, 3, 1, 2))
        return tokens.unflatten(1, tuple(size))
