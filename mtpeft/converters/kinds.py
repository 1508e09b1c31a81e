"""Which released code a checkpoint is of, by the names of its entries."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

MTLORA, DITASK, TADFORMER = 'MTLoRA', 'DiTASK', 'TADFormer'
STATIC = 'TADFormer with the static filter'

#: converter of each kind that can be converted
TOOLS = {
    MTLORA: 'mtlora_to_mtpeft.py',
    DITASK: 'ditask_to_mtpeft.py',
    TADFORMER: 'tadformer_to_mtpeft.py',
}

_NO_STATIC = (
    'It is a TADFormer with the static filter (a depthwise kernel of its own for each task), which '
    'is what the official release trains. No file of that release can be converted: its skip path '
    'scrambles the values of each window, and the weights have learnt with that. Train '
    "configs/tadformer/ instead (filter='static' is an option of the adapter); files with the "
    'dynamic filter (lora_filter.chan_FilterNorm) can be converted.'
)


def released_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict in a released file, under ``'model'`` or ``'state_dict'`` or bare."""
    found = checkpoint
    for key in ('model', 'state_dict'):
        if isinstance(checkpoint.get(key), Mapping):
            found = checkpoint[key]
            break
    return {re.sub(r'^module\.', '', key): value for key, value in found.items()}


def kind_of(state: Mapping[str, Tensor]) -> str:
    """The released code whose names the entries have; ``''`` for none.

    Example:
        >>> kind_of({'backbone.layers.0.blocks.0.attn.qkv.lora_shared_B': None})
        'MTLoRA'
        >>> kind_of({'backbone.task_prompts': None})
        'TADFormer'
    """
    keys = '\n'.join(state)
    if 'backbone.task_prompts' in state or '.lora_filter.' in keys:
        static = '.lora_filter.' in keys and '.lora_filter.chan_FilterNorm.' not in keys
        return STATIC if static else TADFORMER
    factors = set(re.findall(r'\.lora_(?:shared|tasks)_([AB])', keys))
    if factors == {'A'}:
        return DITASK
    if factors or re.search(r'^(downsampler|decoders\.decoders)\.', keys, re.M):
        return MTLORA
    return ''


def check_kind(state: Mapping[str, Tensor], wanted: str) -> None:
    """Refuse a state dict that is of another code.

    Raises:
        ValueError: it is; the message says of which, and what converts that.
    """
    kind = kind_of(state)
    if kind == wanted:
        return
    article = f'expected the state dict of a released {wanted} model'
    if kind == STATIC:
        raise ValueError(f'{article}. {_NO_STATIC}')
    if kind:
        raise ValueError(f'{article}, got one of {kind}: convert it with {TOOLS[kind]}.')
    what = 'a file of mtpeft itself' if any('.adapter.' in key for key in state) else 'other keys'
    raise ValueError(
        f"{article} (keys such as 'backbone.layers.0.blocks.0.attn.qkv.lora_shared_A'), got "
        f'{what}, such as {sorted(state)[:3]}.'
    )
