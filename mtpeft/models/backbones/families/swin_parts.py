"""The steps of a Swin block one by one, of timm and of mmseg."""

import math

import torch
from timm.models.swin_transformer import window_reverse
from torch import Tensor, nn

from mtpeft.adapters.lanes.mlp import through_mlp


class SwinParts:
    """What a block of a Swin consists of, for methods that let streams pass it in their own way.

    Args:
        block: The block.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The Linear layers by role: qkv, proj, fc1, fc2."""
        raise NotImplementedError

    @property
    def heads(self) -> int:
        """Attention heads."""
        raise NotImplementedError

    @property
    def window(self) -> tuple[int, int]:
        """Sides of a window."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """How far windows are shifted for the map of the current pass."""
        raise NotImplementedError

    def rejoin(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``(B, H, W, C)`` of windows ``(B nW, area, C)``, without shift and padding."""
        height, width = (math.ceil(n / w) * w for n, w in zip(size, self.window, strict=True))
        x = window_reverse(windows.unflatten(1, self.window), self.window, height, width)
        return self._undo(x, size)

    def _undo(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        raise NotImplementedError

    def attention_end(self, x: Tensor) -> Tensor:
        """From proj's output to the residual: dropout and stochastic depth."""
        raise NotImplementedError

    def norm2(self, x: Tensor) -> Tensor:
        """The norm before the MLP."""
        return self.block.norm2(x)

    def hidden(self, x: Tensor) -> Tensor:
        """From fc1's output to fc2's input."""
        raise NotImplementedError

    def mlp_end(self, x: Tensor) -> Tensor:
        """From fc2's output to the residual."""
        raise NotImplementedError

    @property
    def activation(self) -> nn.Module:
        """Between fc1 and the dropout before fc2."""
        raise NotImplementedError

    @property
    def attention(self) -> nn.Module:
        """Windowed attention."""
        raise NotImplementedError

    def mlp(self, x: Tensor) -> Tensor:
        """The MLP with its norm, up to the residual: of ``(..., C)``, shared parameters."""
        fc1, fc2 = self.layers['fc1'], self.layers['fc2']
        x = self.norm2(x)
        if self._hidden_drops:
            return self.mlp_end(fc2(self.hidden(fc1(x))))
        return self.mlp_end(through_mlp(fc1, self.activation, fc2, x))

    @property
    def _hidden_drops(self) -> bool:
        raise NotImplementedError


class TimmSwinParts(SwinParts):
    """A block of timm: windows are cut of the shifted, then padded map."""

    @property
    def attention(self) -> nn.Module:
        return self.block.attn

    @property
    def layers(self) -> dict[str, nn.Module]:
        attention, mlp = self.block.attn, self.block.mlp
        return dict(qkv=attention.qkv, proj=attention.proj, fc1=mlp.fc1, fc2=mlp.fc2)

    @property
    def heads(self) -> int:
        return self.block.attn.num_heads

    @property
    def window(self) -> tuple[int, int]:
        return tuple(self.block.window_size)

    @property
    def shift(self) -> int:
        return self.block.shift_size[0]

    def _undo(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x[:, : size[0], : size[1]]
        return torch.roll(x, self.block.shift_size, (1, 2)) if self.shift else x

    def attention_end(self, x: Tensor) -> Tensor:
        return self.block.drop_path1(self.block.attn.proj_drop(x))

    @property
    def activation(self) -> nn.Module:
        return self.block.mlp.act

    def hidden(self, x: Tensor) -> Tensor:
        return self.block.mlp.drop1(self.activation(x))

    @property
    def _hidden_drops(self) -> bool:
        return _drops(self.block.mlp.drop1)

    def mlp_end(self, x: Tensor) -> Tensor:
        return self.block.drop_path2(self.block.mlp.drop2(x))


class MMSegSwinParts(SwinParts):
    """A block of mmseg: windows are cut of the padded, then shifted map."""

    @property
    def attention(self) -> nn.Module:
        return self.block.attn.w_msa

    @property
    def layers(self) -> dict[str, nn.Module]:
        attention, mlp = self.block.attn.w_msa, self.block.ffn.layers
        return dict(qkv=attention.qkv, proj=attention.proj, fc1=mlp[0][0], fc2=mlp[1])

    @property
    def heads(self) -> int:
        return self.block.attn.w_msa.num_heads

    @property
    def window(self) -> tuple[int, int]:
        return tuple(self.block.attn.w_msa.window_size)

    @property
    def shift(self) -> int:
        return self.block.attn.shift_size

    def _undo(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x
        return x[:, : size[0], : size[1]]

    def attention_end(self, x: Tensor) -> Tensor:
        return self.block.attn.drop(self.block.attn.w_msa.proj_drop(x))

    @property
    def activation(self) -> nn.Module:
        return self.block.ffn.layers[0][1]

    def hidden(self, x: Tensor) -> Tensor:
        return self.block.ffn.layers[0][2](self.activation(x))

    @property
    def _hidden_drops(self) -> bool:
        return _drops(self.block.ffn.layers[0][2])

    def mlp_end(self, x: Tensor) -> Tensor:
        return self.block.ffn.dropout_layer(self.block.ffn.layers[2](x))


class BehindAttention:
    """A Swin block from attention's projection on.

    See :class:`mtpeft.adapters.lanes.block.BehindAttention`.

    Args:
        parts: The block's steps.
    """

    def __init__(self, parts: SwinParts) -> None:
        self.parts = parts

    @property
    def first(self) -> nn.Module:
        """The projection behind the heads."""
        return self.parts.layers['proj']

    def before(self) -> list[nn.Module]:
        """qkv and the dropout of attention's weights."""
        return [self.parts.layers['qkv'], self.parts.attention.attn_drop]

    def arrange(self, x: Tensor, windows: Tensor) -> Tensor:
        """Rows ``(B, H W, C)`` of windows ``(B nW, area, C)``, of the block's input ``x``."""
        return self.parts.rejoin(windows, x.shape[1:3]).flatten(1, 2)

    def __call__(self, x: Tensor, attended: Tensor, arranged: bool = False) -> Tensor:
        """The block's output ``(B, H, W, C)``.

        Args:
            x: The block's input ``(B, H, W, C)``.
            attended: What the heads made of its windows, ``(B nW, area, C)``.
            arranged: ``attended`` is as :meth:`arrange` gives it.
        """
        parts, size = self.parts, x.shape[1:3]
        passed = self.first(attended)
        # as rows, which is how the block's own pass gives them to the MLP
        rows = x.flatten(1, 2)
        rows = rows + parts.attention_end(passed if arranged else self.arrange(x, passed))
        return (rows + parts.mlp(rows)).unflatten(1, size)


def _drops(module: nn.Module) -> bool:
    return module.training and getattr(module, 'p', 0) > 0
