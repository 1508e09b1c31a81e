"""What checkpoints of MTLoRA's code, and of the code that descends from it, have in common."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mtpeft.utils.suggest import hint

Rule = tuple[str, str | Callable[[re.Match], str]]


def _next_stage(match: re.Match) -> str:
    return f'backbone.layers.{int(match[1]) + 1}.downsample.'


RULES: tuple[Rule, ...] = (
    # patch merging: end of stage i there, start of stage i + 1 in timm
    (r'^backbone\.layers\.(\d+)\.downsample\.', _next_stage),
    (r'^backbone\.', 'backbone.network.'),
    (r'\.linear\.(weight|bias)$', r'.\1'),
    (r'^downsampler\.(\w+)\.downsample_(\d+)\.', r'necks.0.proj.\1.\2.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.0\.', r'decoder.heads.\1.conv1.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.1\.', r'decoder.heads.\1.norm.'),
    (r'^decoders\.decoders\.(\w+)\.last_layer\.3\.', r'decoder.heads.\1.conv2.'),
)
_DERIVED = re.compile(r'\.(attn_mask|relative_position_index)$')
_KNOWN = re.compile(r'^(backbone|necks|decoder)\.')


def rename(
    state: Mapping[str, Tensor], rules: Sequence[Rule], unread: str | None = None
) -> dict[str, Tensor]:
    """The entries of ``state`` under the keys of a ``MultiTaskModel`` with timm's Swin.

    Masks and position indices, which follow from the picture's size, are dropped.

    Args:
        state: The released state dict.
        rules: Of the method, (regular expression, replacement), after :data:`RULES`.
        unread: Regular expression of released keys that are dropped.

    Raises:
        ValueError: a key is of no known kind.
    """
    renamed = {}
    for key, value in state.items():
        if _DERIVED.search(key) or (unread and re.search(unread, key)):
            continue
        new = key
        for pattern, replacement in (*RULES, *rules):
            new = re.sub(pattern, replacement, new)
        if not _KNOWN.match(new):
            known = ['backbone.', 'downsampler.', 'decoders.decoders.']
            raise ValueError(f"The key '{key}' is of no known kind. " + hint(key, known))
        renamed[new] = value
    return renamed
