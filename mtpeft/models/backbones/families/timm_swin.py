"""timm's Swin Transformer."""

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage
from mtpeft.models.backbones.families.fitted_shift import fit_shifts
from mtpeft.models.backbones.families.prompted_swin import PromptedTimmAttention
from mtpeft.models.backbones.families.swin_parts import TimmSwinParts


class TimmSwin(Family):
    """Swin Transformer of timm: maps ``(B, H, W, C)``, merging at the start of the next stage.

    timm fixes the window shift when it builds a model for one picture size; here it follows from
    the actual map: 0 exactly where the map fits one window.
    """

    name = 'timm Swin'
    layout = 'NHWC'
    roles = {
        'qkv': r'attn\.qkv',
        'proj': r'attn\.proj',
        'fc1': r'mlp\.fc1',
        'fc2': r'mlp\.fc2',
        'mlp': r'mlp',
        'reduction': r'downsample\.reduction',
    }
    groups = {
        'block_norms': r'.*\.norm[12]\.(weight|bias)|patch_embed\.norm\..*|.*downsample\.norm\..*',
        'relative_position_bias_table': r'.*\.relative_position_bias_table',
        'patch_embed': r'patch_embed\.proj\..*',
        'reduction': r'.*downsample\.reduction\.weight',
    }
    unread = ('norm.', 'head.')
    on_map = r'mlp\.fc[12]'
    prompts = 'windows'
    one_size = (
        'shifts its windows where the map is larger than one window and not elsewhere, so what it '
        'computes depends on the size'
    )
    parts = TimmSwinParts

    # any picture size is taken, and windows keep their size
    build_options = dict(strict_img_size=False, always_partition=True)

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        fit_shifts(network)

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, SwinTransformer)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        stages = []
        patch = network.patch_embed.patch_size[0]
        for i, stage in enumerate(network.layers):
            blocks = [f'layers.{i}.blocks.{j}' for j in range(len(stage.blocks))]
            following = network.layers[i + 1] if i + 1 < len(network.layers) else None
            channels = stage.blocks[-1].dim
            stages.append(
                Stage(
                    blocks=blocks,
                    lane_block=blocks[-1],
                    merge=f'layers.{i + 1}.downsample' if following is not None else None,
                    channels=channels,
                    merged_channels=following.blocks[0].dim if following is not None else channels,
                    stride=patch * 2**i,
                )
            )
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        return network.patch_embed(x)

    def reduction(self, merge: nn.Module) -> nn.Linear | None:
        return merge.reduction

    def before_reduction(self, merge: nn.Module, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if height % 2 or width % 2:  # (padding by nothing would copy the map)
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        x = x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
        return merge.norm(x.permute(0, 1, 3, 4, 2, 5).flatten(3))

    def prepare_prompts(self, network: nn.Module) -> None:
        for stage in self.stages:
            for name in stage.blocks:
                block = network.get_submodule(name)
                block.attn = PromptedTimmAttention.adopt(block.attn)

    def attention(self, block: nn.Module) -> nn.Module:
        return block.attn

    def normed_prompts(self, block: nn.Module, prompts: Tensor) -> Tensor:
        return block.norm1(prompts)

    def next_prompts(self, block: nn.Module, prompts: Tensor, rows: Tensor) -> Tensor:
        prompts = prompts + block.drop_path1(rows)
        return prompts + block.drop_path2(block.mlp(block.norm2(prompts)))
