"""A block of timm's Swin with tokens in its windows, by loops over windows and heads."""

import torch
from torch import Tensor, nn


def attention_over_all(
    block: nn.Module, windows: Tensor, tokens: Tensor, bias: Tensor, mask: Tensor | None
) -> Tensor:
    """Softmax attention of one window's patches and the tokens, written out for one window."""
    attention = block.attn
    z = torch.cat([tokens, windows], 0)
    heads, width = attention.num_heads, z.shape[1] // attention.num_heads
    qkv = nn.functional.linear(z, attention.qkv.weight, attention.qkv.bias)
    q, k, v = qkv.view(len(z), 3, heads, width).unbind(1)
    out, number = torch.zeros(len(z), heads, width), len(tokens)
    for head in range(heads):
        scores = q[:, head] @ k[:, head].T * width**-0.5
        scores[number:, number:] += bias[head] + (0 if mask is None else mask)
        out[:, head] = scores.softmax(-1) @ v[:, head]
    return nn.functional.linear(out.flatten(1), attention.proj.weight, attention.proj.bias)


def block_by_windows(block: nn.Module, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Patches ``(B, H, W, C)`` and tokens ``(B, P, C)`` after a block whose windows fit the map."""
    (pictures, height, width, _), number = x.shape, tokens.shape[1]
    shift = block.shift_size[0]
    normed = torch.roll(block.norm1(x), (-shift, -shift), (1, 2))
    ids = torch.zeros(height, width)
    if shift:  # patches from different sides of the picture do not see each other
        for side, (rows, cols) in enumerate(
            (slice(a, b), slice(c, d))
            for a, b in ((0, height - 7), (height - 7, height - shift), (height - shift, height))
            for c, d in ((0, width - 7), (width - 7, width - shift), (width - shift, width))
        ):
            ids[rows, cols] = side
    bias = block.attn._get_rel_pos_bias()[0]
    attended, token_rows = torch.zeros_like(x), torch.zeros_like(tokens)
    windows = (height // 7) * (width // 7)
    for b in range(pictures):
        for i in range(height // 7):
            for j in range(width // 7):
                place = slice(7 * i, 7 * i + 7), slice(7 * j, 7 * j + 7)
                window, own = normed[b][place].reshape(49, -1), ids[place].reshape(49)
                mask = -100.0 * (own[:, None] != own)
                y = attention_over_all(block, window, block.norm1(tokens[b]), bias, mask)
                attended[(b, *place)] = y[number:].view(7, 7, -1)
                token_rows[b] += y[:number] / windows
    patches = x + torch.roll(attended, (shift, shift), (1, 2))
    patches = patches + block.mlp(block.norm2(patches))
    after = tokens + token_rows
    return patches, after + block.mlp(block.norm2(after))
