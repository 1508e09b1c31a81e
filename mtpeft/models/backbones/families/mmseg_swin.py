"""mmsegmentation's Swin Transformer."""

from mmseg.models.backbones import SwinTransformer
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage
from mtpeft.models.backbones.families.fitted_shift import fit_shifts
from mtpeft.models.backbones.families.prompted_swin import PromptedMMSegAttention
from mtpeft.models.backbones.families.swin_parts import MMSegSwinParts


class MMSegSwin(Family):
    """Swin Transformer of mmseg: tokens ``(B, H W, C)`` with their shape, carried here as maps.

    mmseg shifts windows even where the map fits one window; here the shift is 0 there, as in the
    official code.
    """

    name = 'mmseg SwinTransformer'
    layout = 'NHWC'
    roles = {
        'qkv': r'attn\.w_msa\.qkv',
        'proj': r'attn\.w_msa\.proj',
        'fc1': r'ffn\.layers\.0\.0',
        'fc2': r'ffn\.layers\.1',
        'reduction': r'downsample\.reduction',
    }
    groups = {
        'block_norms': r'stages\..*\.norm[12]\.(weight|bias)|patch_embed\.norm\..*'
        r'|.*downsample\.norm\..*',
        'relative_position_bias_table': r'.*\.relative_position_bias_table',
        'patch_embed': r'patch_embed\.projection\..*',
        'reduction': r'.*downsample\.reduction\.weight',
        'out_norms': r'norm\d\..*',
    }

    on_map = r'ffn\.layers\.(0\.0|1)'
    prompts = 'windows'
    one_size = (
        'shifts its windows where the map is larger than one window and not elsewhere, so what it '
        'computes depends on the size'
    )
    parts = MMSegSwinParts
    # norms of the un-merged outputs; classification weights have none of them
    may_be_absent = ('norm0.', 'norm1.', 'norm2.', 'norm3.')

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        fit_shifts(network)

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return isinstance(network, SwinTransformer)

    def make_stages(self, network: nn.Module) -> list[Stage]:
        stages = []
        patch = network.patch_embed.projection.kernel_size[0]
        for i, stage in enumerate(network.stages):
            blocks = [f'stages.{i}.blocks.{j}' for j in range(len(stage.blocks))]
            merged = stage.downsample is not None
            channels = network.num_features[i]
            stages.append(
                Stage(
                    blocks=blocks,
                    lane_block=blocks[-1],
                    merge=f'stages.{i}.downsample' if merged else None,
                    channels=channels,
                    merged_channels=stage.downsample.out_channels if merged else channels,
                    stride=patch * 2**i,
                    out_norm=f'norm{i}' if i in network.out_indices else None,
                )
            )
        return stages

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        x, shape = network.patch_embed(x)
        if network.use_abs_pos_embed:
            x = x + network.absolute_pos_embed
        return network.drop_after_pos(x).unflatten(1, shape)

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        size = self.size(x)
        return block(x.flatten(1, 2), size).unflatten(1, size)

    def run_merge(self, merge: nn.Module, x: Tensor) -> Tensor:
        out, size = merge(x.flatten(1, 2), self.size(x))
        return out.unflatten(1, tuple(size))

    def reduction(self, merge: nn.Module) -> nn.Linear | None:
        return merge.reduction if merge.reduction.bias is None else None

    def before_reduction(self, merge: nn.Module, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        x = x if merge.adap_padding is None else merge.adap_padding(x)
        size = tuple(side // 2 for side in x.shape[2:])
        return merge.norm(merge.sampler(x).transpose(1, 2)).unflatten(1, size)

    def prepare_prompts(self, network: nn.Module) -> None:
        for stage in self.stages:
            for name in stage.blocks:
                attention = network.get_submodule(name).attn
                attention.w_msa = PromptedMMSegAttention.adopt(attention.w_msa)

    def attention(self, block: nn.Module) -> nn.Module:
        return block.attn.w_msa

    def normed_prompts(self, block: nn.Module, prompts: Tensor) -> Tensor:
        return block.norm1(prompts)

    def next_prompts(self, block: nn.Module, prompts: Tensor, rows: Tensor) -> Tensor:
        prompts = prompts + block.attn.drop(rows)
        return block.ffn(block.norm2(prompts), identity=prompts)
