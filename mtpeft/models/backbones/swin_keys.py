"""Swin weights between the names of timm (and the official release) and of mmsegmentation."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_TO_MMSEG = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^layers\.', 'stages.'),
    (r'\.attn\.', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)


def looks_like_timm_swin(state: Mapping[str, Tensor]) -> bool:
    """Does ``state`` use timm's (or the official) names of a Swin Transformer?"""
    return any(k.startswith('layers.0.blocks.0.attn.') for k in state)


def timm_to_mmseg_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights and adapters of a timm Swin under mmseg's names.

    timm merges patches at the start of stage i + 1, mmseg at the end of stage i, and mmseg sorts
    the four neighbours' channels differently: columns of the reduction, of what adapts it (A) and
    entries of its norm are permuted alike. The classifier and the final norm are left out.
    """
    official = any(k.startswith('layers.0.downsample.') for k in state)
    out = {}
    for key, value in state.items():
        if key.startswith(('head.', 'norm.')) or key.endswith(('attn_mask', 'position_index')):
            continue
        merge = re.match(r'layers\.(\d+)\.downsample\.(.*)', key)
        if merge:
            stage = int(merge[1]) - (0 if official else 1)
            out[f'stages.{stage}.downsample.{merge[2]}'] = _unfold_order(merge[2], value)
            continue
        for pattern, replacement in _TO_MMSEG:
            key = re.sub(pattern, replacement, key)
        out[key] = value
    return out


def _unfold_order(name: str, value: Tensor) -> Tensor:
    """Neighbours (0,0) (1,0) (0,1) (1,1) outside, channels inside -> channels outside, row-major
    neighbours inside, on the last axis of what sees the merged patches."""
    if name.endswith('.B') or not name.startswith(('norm.', 'reduction.')):
        return value
    neighbours = value.unflatten(-1, (4, value.shape[-1] // 4))
    rows = neighbours[..., torch.tensor([0, 2, 1, 3]), :]
    return rows.transpose(-1, -2).flatten(-2)
