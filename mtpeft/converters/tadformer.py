"""Checkpoints of the TADFormer code with the dynamic filter."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from mtpeft.converters.released import rename

_PROMPTS = 'backbone.task_prompts'
_LAYER = r'^backbone\.network\.layers\.(\d+)\.'


def _projection(match: re.Match) -> str:
    # the projection of stage i stands with a merging, which timm has at the start of stage i + 1
    return f'backbone.token_stream.projections.{int(match[1]) - 1}.'


_RULES = (
    (r'\.lora_shared_([AB])$', r'.adapter.\1'),
    (r'\.lora_filter\.(?:conv|chan_FilterNorm)\.(weight|bias|std|mean)$', r'.adapter.filter.\1'),
    (_LAYER + r'prompt_gate$', r'backbone.token_stream.gates.\1'),
    (_LAYER + r'blocks\.(\d+)\.attn\.proj\.prompt_layernorm\.',
     r'backbone.token_stream.norms.\1.\2.'),
    (_LAYER + r'downsample\.task_prompts_up\.', _projection),
)  # fmt: skip


def tadformer_to_mtpeft(
    state: Mapping[str, Tensor], tasks: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Rename the weights of a TADFormer model for ``configs/tadformer/*_swin-t_*``.

    The backbone becomes timm's Swin inside a ``TADFormerBackbone``. Masks and position indices,
    which follow from the picture's size, are dropped.

    Args:
        state: The released state dict, with the dynamic filter (``lora_filter.chan_FilterNorm``).
        tasks: Whose prompts the rows of ``task_prompts`` are. Default: the tasks in the order in
            which their projections (``downsampler.<task>``) stand in the file.

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: the state dict is none of TADFormer's, has another filter or a key of no known
            kind, or its prompts are no multiple of the tasks.
    """
    if _PROMPTS not in state:
        raise ValueError(
            f"expected the state dict of a TADFormer model (with '{_PROMPTS}'), got keys such as "
            f'{sorted(state)[:3]}.'
        )
    renamed = rename(state, _RULES, re.escape(_PROMPTS))
    for key, value in renamed.items():
        if '.lora_' in key:
            raise ValueError(
                f"The key '{key}' is of no known kind: expected lora_shared_A, lora_shared_B, and "
                "the dynamic filter's lora_filter.conv and lora_filter.chan_FilterNorm."
            )
        if key.endswith('.adapter.filter.weight'):
            renamed[key] = value.flatten(1)  # a convolution of 1 x 1 there
    prompts = state[_PROMPTS]
    if tasks is None:
        tasks = list(dict.fromkeys(k.split('.')[1] for k in state if k.startswith('downsampler.')))
    if not tasks or len(prompts) % len(tasks):
        raise ValueError(
            f'task_prompts has {len(prompts)} rows, expected a multiple of the {len(tasks)} tasks '
            f'{list(tasks)}. Name the tasks in the order of the rows.'
        )
    for task, rows in zip(tasks, prompts.chunk(len(tasks)), strict=True):
        renamed[f'backbone.token_stream.prompts.{task}'] = rows
    return renamed
