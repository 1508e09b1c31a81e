"""timm's Hiera."""

import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models.hiera import Hiera
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage


class TimmHiera(Family):
    """Hiera of timm for pictures of any size: maps ``(B, H, W, C)``; there is no patch merging.

    The first block of a stage pools the map and widens it. Hiera keeps its tokens in an order in
    which a window lies together; here each block gets them so and gives them back as a map. Layers
    inside see that order, so none of them sees a map. Sides are padded to whole windows.
    """

    name = 'timm Hiera'
    layout = 'NHWC'
    roles = {
        'qkv': r'attn\.qkv',
        'proj': r'attn\.proj',
        'fc1': r'mlp\.fc1',
        'fc2': r'mlp\.fc2',
        'mlp': r'mlp',
        'reduction': r'blocks\.\d+\.proj',
    }
    groups = {
        'block_norms': r'blocks\.\d+\.norm[12]\..*',
        'patch_embed': r'patch_embed\.proj\..*',
        'pos_embed': r'pos_embed(_win)?',
        'reduction': r'blocks\.\d+\.proj\..*',
    }
    unread = ('head.',)
    blocks_see_map = False
    one_size = (
        'lays its tokens together by units of the map and apart again in each block, which '
        'torch.export does not trace for open sizes within minutes'
    )

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self._unit = network.mask_unit_size[0] * network.patch_stride[0]
        left = len(network.stage_ends) - 1  # how often tokens are still laid together
        pooling = [end + 1 for end in network.stage_ends[: network.q_pool]]
        for index, block in enumerate(network.blocks):
            after = left - (index in pooling)
            block.orders = left, after
            left = after

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, Hiera) and network.pos_embed is not None

    def make_stages(self, network: nn.Module) -> list[Stage]:
        stages, start = [], 0
        for number, (end, info) in enumerate(
            zip(network.stage_ends, network.feature_info, strict=True)
        ):
            blocks = [f'blocks.{i}' for i in range(start, end + 1)]
            width = info['num_chs']
            stride = network.patch_stride[0] * 2 ** min(number, network.q_pool)
            stages.append(Stage(blocks, blocks[-1], None, width, width, stride))
            start = end + 1
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        size = tuple(n // s for n, s in zip(x.shape[-2:], network.patch_stride, strict=True))
        x = network.patch_embed(x).unflatten(1, size)
        if network.pos_embed_win is None:
            places = resample_abs_pos_embed(
                network.pos_embed, size, network.tokens_spatial_shape, num_prefix_tokens=0
            )
            return x + places.unflatten(1, size)
        # a window's own places, and those of the whole picture (arXiv 2311.05613)
        own = network.pos_embed_win
        own = own.tile([n // u for n, u in zip(size, own.shape[-2:], strict=True)])
        places = F.interpolate(network.pos_embed, size=size, mode='bicubic', antialias=True)
        return x + (places + own).permute(0, 2, 3, 1)

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        before, after = block.orders
        height, width = x.shape[1:3]
        pooled = before - after
        out = block(_together(x, before))
        return _as_map(out, (height >> pooled, width >> pooled), after)

    @property
    def patch_size(self) -> int:
        return self._unit


def _order(levels: int) -> list[int]:
    """Where the axes ``(B, h, y_k .. y_1, w, x_k .. x_1, C)`` go: y_1 and x_1 come first."""
    bits = [axis for j in range(1, levels + 1) for axis in (2 + levels - j, 3 + 2 * levels - j)]
    return [0, *bits, 1, 2 + levels, 3 + 2 * levels]


def _together(x: Tensor, levels: int) -> Tensor:
    """Tokens ``(B, N, C)`` of a map: those that ``levels`` poolings by 2 x 2 unite lie together."""
    two = [2] * levels
    x = x.unflatten(2, (x.shape[2] >> levels, *two)).unflatten(1, (x.shape[1] >> levels, *two))
    return x.permute(_order(levels)).flatten(1, -2)


def _as_map(x: Tensor, size: tuple[int, int], levels: int) -> Tensor:
    """The map ``(B, H, W, C)`` of such tokens."""
    order = _order(levels)
    shape = [*[2] * (2 * levels), size[0] >> levels, size[1] >> levels]
    back = sorted(range(len(order)), key=order.__getitem__)
    return x.unflatten(1, shape).permute(back).flatten(2 + levels, -2).flatten(1, 1 + levels)
