"""How task tokens pass the blocks of a Swin, of timm and of mmseg."""

from mmseg.models.backbones.swin import WindowMSA
from timm.models.swin_transformer import WindowAttention
from torch import Tensor

from mtpeft.models.backbones.window_prompts import PromptedAttention


class PromptedTimmAttention(PromptedAttention, WindowAttention):
    """timm's window attention with tokens."""

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return WindowAttention.forward(self, x, mask)

    def _get_rel_pos_bias(self) -> Tensor:
        return self.padded(super()._get_rel_pos_bias())


class PromptedMMSegAttention(PromptedAttention, WindowMSA):
    """mmseg's window attention with tokens."""

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # the stock forward with a position bias for the patches only
        windows, length, _ = x.shape
        qkv = self.qkv(x).reshape(windows, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        area = self.window_size[0] * self.window_size[1]
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(area, area, -1).permute(2, 0, 1).contiguous()
        attention = (q * self.scale) @ k.transpose(-2, -1) + self.padded(bias)[None]
        if mask is not None:
            attention = attention.unflatten(0, (-1, len(mask))) + mask[None, :, None]
            attention = attention.flatten(0, 1)
        attention = self.attn_drop(self.softmax(attention))
        x = (attention @ v).transpose(1, 2).reshape(windows, length, -1)
        return self.proj_drop(self.proj(x))
