"""timm's EVA, EVA-02 and DINOv3: a ViT whose attention turns queries and keys by their place."""

from timm.models.eva import Eva
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now
from mtpeft.models.backbones.families.timm_vit import TimmViT


class TimmEva(TimmViT):
    """EVA of timm (EVA-02, DINOv3, Perception Encoder): as ViT, with rotary positions.

    Its attention adds the bias of a fused ``qkv`` in place. MLPs may have two layers as ``fc1``
    (SwiGLU). Prompts would shift the places that tokens are turned by, so there are none.
    """

    name = 'timm EVA and DINOv3'
    roles = {
        **TimmViT.roles,
        'qkv': r'attn\.(qkv|[qkv]_proj)',
        'fc1': r'mlp\.fc1(_[gx])?',
    }
    groups = {
        **TimmViT.groups,
        'block_norms': r'blocks\.\d+\.(norm[12]|attn\.norm|mlp\.norm)\..*|norm_pre\..*',
    }
    modified_in_place = r'attn\.qkv'
    on_map = r'attn\.(qkv|[qkv]_proj|proj)|mlp\.fc(1(_[gx])?|2)'
    prompts = None

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        for depth, block in enumerate(network.blocks):
            block.depth = depth  # 'mixed' rotary positions are each block's own
        self.mixed = network.rope_mixed

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, Eva)

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        x = network.patch_embed(x)
        now.size = tuple(x.shape[1:3]) if x.ndim == 4 else network.patch_embed.grid_size
        now.prefix = network.num_prefix_tokens
        tokens, now.places = network._pos_embed(x)
        return network.norm_pre(tokens)

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        places = now.places[block.depth] if self.mixed else now.places
        return block(x, rope=places)
