"""timm's Vision Transformer."""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now
from mtpeft.models.backbones.families.base import Family, Stage


class TimmViT(Family):
    """Plain ViT of timm: tokens ``(B, prefix + H W, C)``; four equal groups of blocks.

    The lane block is the last of each group (2, 5, 8, 11 of 12). All levels have the patch's
    stride; the neck ``RescaleNeck`` makes a pyramid of them.
    """

    name = 'timm ViT'
    roles = {
        'qkv': r'attn\.qkv',
        'proj': r'attn\.proj',
        'fc1': r'mlp\.fc1',
        'fc2': r'mlp\.fc2',
        'mlp': r'mlp',
    }
    groups = {
        'block_norms': r'blocks\.\d+\.norm[12]\..*|norm_pre\..*',
        'patch_embed': r'patch_embed\.proj\..*',
        'pos_embed': r'pos_embed|cls_token|reg_token',
    }
    unread = ('norm.', 'fc_norm.', 'head.', 'attn_pool.')
    build_options = dict(dynamic_img_size=True)
    on_map = r'attn\.(qkv|proj)|mlp\.fc[12]'
    prompts = 'sequence'

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, VisionTransformer)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        depth = len(network.blocks)
        bounds = [depth * i // 4 for i in range(5)]
        # behind a CNN (hybrid ViT), patches are larger than the kernel that makes tokens of them
        width, patch = network.embed_dim, network.patch_embed.feat_ratio()
        stages = []
        for start, end in zip(bounds, bounds[1:], strict=False):
            blocks = [f'blocks.{i}' for i in range(start, end)]
            if blocks:
                stages.append(Stage(blocks, blocks[-1], None, width, width, patch))
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        x = network.patch_embed(x)
        now.size = tuple(x.shape[1:3]) if x.ndim == 4 else network.patch_embed.grid_size
        now.prefix = network.num_prefix_tokens
        tokens = network._pos_embed(x)
        return network.norm_pre(network.patch_drop(tokens))

    def join_prompts(self, x: Tensor, prompts: Tensor) -> Tensor:
        prefix, patches = x.tensor_split([now.prefix], dim=1)
        now.prefix += prompts.shape[1]
        return torch.cat([prefix, prompts.to(x.dtype), patches], 1)

    def size(self, x: Tensor) -> tuple[int, int]:
        return now.size

    def to_nchw(self, x: Tensor) -> Tensor:
        x = x[:, now.prefix :].transpose(1, 2)
        return x.unflatten(2, now.size).contiguous()
