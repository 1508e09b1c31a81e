"""Checkpoints of the released MTLoRA code."""

import re
from collections.abc import Mapping

from torch import Tensor

from mtpeft.utils.suggest import hint


def _next_stage(match: re.Match) -> str:
    return f'backbone.layers.{int(match[1]) + 1}.downsample.'


_RULES = (
    # patch merging: end of stage i there, start of stage i + 1 in timm
    (r'^backbone\.layers\.(\d+)\.downsample\.', _next_stage),
    (r'^backbone\.', 'backbone.network.'),
    (r'\.linear\.(weight|bias)$', r'.\1'),
    (r'\.lora_shared_([AB])$', r'.adapter.\1'),
    (r'\.lora_tasks_([AB])\.', r'.adapter.task_\1.'),
    (r'\.lora_norm\.', '.adapter.norm.'),
    (r'^downsampler\.(\w+)\.downsample_(\d+)\.', r'necks.0.proj.\1.\2.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.0\.', r'decoder.heads.\1.conv1.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.1\.', r'decoder.heads.\1.norm.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.3\.', r'decoder.heads.\1.conv2.'),
)  # fmt: skip
_DERIVED = re.compile(r'\.(attn_mask|relative_position_index)$')
_KNOWN = re.compile(r'^(backbone|necks|decoder)\.')


def mtlora_to_mtpeft(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a released MTLoRA model for ``configs/mtlora/*_swin-t_*``.

    The backbone becomes timm's Swin inside an ``AdapterBackbone``. Masks and position indices,
    which follow from the picture's size, are dropped.

    Args:
        state: The released state dict (``backbone.layers...``, ``downsampler...``,
            ``decoders.decoders...``).

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: no key looks like the released code's, or one is of no known kind.
    """
    if not any('.lora_shared_A' in key or key.startswith('downsampler.') for key in state):
        raise ValueError(
            'expected the state dict of a released MTLoRA model (keys such as '
            "'backbone.layers.0.blocks.0.attn.qkv.lora_shared_A'), got keys such as "
            f'{sorted(state)[:3]}.'
        )
    renamed = {}
    for key, value in state.items():
        if _DERIVED.search(key):
            continue
        new = key
        for pattern, replacement in _RULES:
            new = re.sub(pattern, replacement, new)
        if not _KNOWN.match(new):
            known = ['backbone.', 'downsampler.', 'decoders.decoders.']
            raise ValueError(f"The key '{key}' is of no known kind. " + hint(key, known))
        renamed[new] = value
    return renamed
