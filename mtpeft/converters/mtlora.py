"""Checkpoints of the released MTLoRA code."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mtpeft.converters.kinds import MTLORA, check_kind
from mtpeft.converters.released import options_of, rename, scaled, task_blocks

_RULES = (
    (r'\.lora_shared_([AB])$', r'.adapter.\1'),
    (r'\.lora_tasks_([AB])\.', r'.adapter.task_\1.'),
    (r'\.lora_norm\.', '.adapter.norm.'),
)


def mtlora_to_mtpeft(
    state: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """Rename the weights of a released MTLoRA model for ``configs/mtlora/*_swin-t_*``.

    The backbone becomes timm's Swin inside an ``AdapterBackbone``. Masks and position indices,
    which follow from the picture's size, are dropped. A scale s that is not the configs' 4, learnt
    (``TRAINABLE_SCALE_SHARED``, ``TRAINABLE_SCALE_PER_TASK``) or from the settings, goes into B:
    s B A = 4 (s B / 4) A.

    Args:
        state: The released state dict (``backbone.layers...``, ``downsampler...``,
            ``decoders.decoders...``).
        settings: The released file's ``'config'``. Without them, scales that were not learnt are
            taken as 4.

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: the state dict is of another code, a key is of no known kind, or the model has
            a part that mtpeft has not (``INTERMEDIATE_SPECIALIZATION``, ``SPLIT_QKV``).
    """
    check_kind(state, MTLORA)
    _refuse(state, options_of(settings))
    return rename(scaled(state, settings), _RULES)


def mode_of(settings: Mapping[str, Any] | None) -> str:
    """``mode`` of the plugins that a released file needs, by its ``'config'``."""
    return str(options_of(settings).get('SHARED_MODE', 'matrix'))


def _refuse(state: Mapping[str, Tensor], options: Mapping[str, Any]) -> None:
    early = [block for block, last in task_blocks(state).items() if not last]
    if early or options.get('INTERMEDIATE_SPECIALIZATION'):
        where = f' (such as {early[0]})' if early else ''
        raise ValueError(
            'The model was trained with INTERMEDIATE_SPECIALIZATION: task modules in blocks before '
            f"the last of a stage{where}, whose streams mtpeft's MTLoRA has not. It cannot be "
            'converted; train with lanes in the last blocks.'
        )
    if options.get('SPLIT_QKV') or any(re.search(r'\.qkv\.[qkv]\.', key) for key in state):
        raise ValueError(
            'The model was trained with SPLIT_QKV: an adapter for each of q, k and v, where the '
            'layer here has one. It cannot be converted.'
        )
