"""timm's BEiT: a ViT whose attention has a bias for each relative position."""

from collections.abc import Sequence
from functools import lru_cache
from inspect import signature

import torch
from timm.layers import resample_abs_pos_embed, resize_rel_pos_bias_table
from timm.models.beit import Attention, Beit, RelativePositionBias, gen_relative_position_index
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now
from mtpeft.models.backbones.families.timm_vit import TimmViT

_TAKES_WINDOW = len(signature(resize_rel_pos_bias_table).parameters) > 3  # since timm 1.0.31


def _resized(
    table: Tensor, size: Sequence[int], shape: tuple[int, int], window: Sequence[int]
) -> Tensor:
    """The table of biases for a map of another size.

    Raises:
        RuntimeError: of a window that is not square, where timm takes every window for a square.
    """
    if _TAKES_WINDOW:
        return resize_rel_pos_bias_table(table, size, shape, window)
    if window[0] != window[1]:
        raise RuntimeError(
            f'Biases of a window of {window[0]} x {window[1]} are resized from timm 1.0.31 on; '
            'give pictures of the size that the network is made for, or install a newer timm.'
        )
    return resize_rel_pos_bias_table(table, size, shape)


class _FittedBias:
    """Mixin: the bias of relative positions follows the map of the pass, as timm resizes it."""

    def _fitted(self) -> Tensor:
        size, table = now.size, self.relative_position_bias_table
        count = (2 * size[0] - 1) * (2 * size[1] - 1) + 3
        heads = table.shape[1]
        table = _resized(table, size, (count, heads), self.window_size)
        index = _index(tuple(size), str(table.device))
        area = size[0] * size[1] + 1
        return table[index.view(-1)].view(area, area, heads).permute(2, 0, 1).contiguous()

    def _is_own(self) -> bool:
        return now.size is None or tuple(now.size) == tuple(self.window_size)


class FittedAttention(_FittedBias, Attention):
    """timm's attention."""

    def _get_rel_pos_bias(self) -> Tensor:
        return super()._get_rel_pos_bias() if self._is_own() else self._fitted()[None]


class FittedSharedBias(_FittedBias, RelativePositionBias):
    """timm's bias that all blocks share."""

    def forward(self) -> Tensor:
        return super().forward() if self._is_own() else self._fitted()


@lru_cache(maxsize=16)
def _index(size: tuple[int, int], device: str) -> Tensor:
    return gen_relative_position_index(size).to(device)


class TimmBeit(TimmViT):
    """BEiT (v1 and v2) of timm: as ViT, for maps of any size.

    Attention has a bias for each relative position, in each block or shared by all; for another map
    than the pretrained one it is resized as timm does. It adds the bias of ``qkv`` in place.
    Prompts would have no relative position, so there are none.
    """

    name = 'timm BEiT'
    roles = {**TimmViT.roles, 'fc1': r'mlp\.fc1(_[gx])?'}
    groups = {
        **TimmViT.groups,
        'block_norms': r'blocks\.\d+\.(norm[12]|mlp\.norm)\..*',
        'relative_position_bias_table': r'.*relative_position_bias_table',
    }
    modified_in_place = r'attn\.qkv'
    on_map = r'attn\.(qkv|proj)|mlp\.fc(1(_[gx])?|2)'
    prompts = None
    build_options = {}

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        network.patch_embed.strict_img_size = False
        fitted = {Attention: FittedAttention, RelativePositionBias: FittedSharedBias}
        for module in network.modules():
            module.__class__ = fitted.get(type(module), type(module))

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, Beit)

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        now.size = network.patch_embed.dynamic_feat_size(tuple(x.shape[-2:]))
        now.prefix = network.num_prefix_tokens
        x = network.patch_embed(x)
        x = torch.cat([network.cls_token.expand(x.shape[0], -1, -1), x], 1)
        if network.pos_embed is not None:
            old = network.patch_embed.grid_size
            x = x + resample_abs_pos_embed(network.pos_embed, now.size, old)
        # every block of the pass adds it
        now.places = None if network.rel_pos_bias is None else network.rel_pos_bias()
        return network.pos_drop(x)

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x, shared_rel_pos_bias=now.places)
