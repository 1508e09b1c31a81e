"""What checkpoints of MTLoRA's code, and of the code that descends from it, have in common."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
#: the scale of our configs
SCALE = 4.0
#: parameters of the released code that hold a scale
SCALES = re.compile(r'\.lora_(shared|task)_scale(\.|$)')
_LAYER = ('lora_shared_A', 'lora_shared_B', 'lora_tasks_A', 'lora_tasks_B')
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
        if not _KNOWN.match(new) or '.lora_' in new:
            known = ['backbone.', 'downsampler.', 'decoders.decoders.', *_LAYER]
            raise ValueError(f"The key '{key}' is of no known kind. " + hint(key, known))
        renamed[new] = value
    return renamed


def task_blocks(state: Mapping[str, Tensor]) -> dict[str, bool]:
    """Blocks with task parameters, and whether each is the last of its stage.

    Example:
        >>> keys = ('layers.0.blocks.0.mlp.fc1.lora_tasks_A.sal', 'layers.0.blocks.1.norm1.weight')
        >>> task_blocks(dict.fromkeys(f'backbone.{key}' for key in keys))
        {'backbone.layers.0.blocks.0': False}
    """
    places = [re.match(r'(backbone\.layers\.\d+)\.blocks\.(\d+)\.', key) for key in state]
    last: dict[str, int] = {}
    for place in filter(None, places):
        last[place[1]] = max(int(place[2]), last.get(place[1], 0))
    return {
        f'{place[1]}.blocks.{place[2]}': int(place[2]) == last[place[1]]
        for key, place in zip(state, places, strict=True)
        if place and '.lora_tasks_' in key
    }


def options_of(settings: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What a released file's ``'config'`` says of its adapters."""
    return ((settings or {}).get('MODEL') or {}).get('MTLORA') or {}


def scaled(state: Mapping[str, Tensor], settings: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """``state`` with B for the scale of our configs, and without scales of its own.

    Where a product has another scale s than 4, learnt or by the settings,
    s B A = 4 (s B / 4) A. Without settings, a scale that was not learnt is taken as 4.
    """
    options = options_of(settings)
    factor = re.compile(r'\.lora_(shared_B$|tasks_B\.)')
    return {
        key: value * (_scale(state, options, key) / SCALE) if factor.search(key) else value
        for key, value in state.items()
        if not SCALES.search(key)
    }


def _scale(state: Mapping[str, Tensor], options: Mapping[str, Any], key: str) -> float | Tensor:
    """The scale of the product that the factor ``key`` is of."""
    layer, _, task = key.partition('.lora_tasks_B.')
    layer = layer.removesuffix('.lora_shared_B')
    learnt = state.get(f'{layer}.lora_task_scale.{task}' if task else f'{layer}.lora_shared_scale')
    if learnt is not None:
        return learnt.reshape(())
    values = options.get('SHARED_SCALE', SCALE)
    if task:
        # the released code reads a task's scale here, and else the shared one
        values = (options.get('SCALE_PER_TASK') or {}).get(task, values)
    if isinstance(values, list | tuple):
        stage = re.match(r'backbone\.layers\.(\d+)\.', key)
        values = values[int(stage[1])] if stage and len(values) > 1 else values[0]
    return float(values)
