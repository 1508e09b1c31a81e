"""Checkpoints of the TADFormer code with the dynamic filter."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mtpeft.converters.kinds import TADFORMER, check_kind
from mtpeft.converters.released import rename, scaled

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
    state: Mapping[str, Tensor],
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Rename the weights of a TADFormer model for ``configs/tadformer/*_swin-t_*``.

    The backbone becomes timm's Swin inside a ``TADFormerBackbone``. Masks and position indices,
    which follow from the picture's size, are dropped.

    Args:
        state: The released state dict, with the dynamic filter (``lora_filter.chan_FilterNorm``).
        tasks: Whose prompts the rows of ``task_prompts`` are. Default: the tasks in the order in
            which their projections (``downsampler.<task>``) stand in the file.
        settings: The file's ``'config'``, for scales other than 4, which go into B as in
            :func:`~mtpeft.converters.mtlora_to_mtpeft`.

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: the state dict is of another code, has the static filter or a key of no known
            kind, or its prompts are no multiple of the tasks.
    """
    check_kind(state, TADFORMER)
    if _PROMPTS not in state:
        raise ValueError(f"expected a TADFormer model with '{_PROMPTS}', which is missing.")
    renamed = rename(scaled(state, settings), _RULES, re.escape(_PROMPTS))
    for key, value in renamed.items():
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
