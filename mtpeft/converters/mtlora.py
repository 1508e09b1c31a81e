"""Checkpoints of the released MTLoRA code."""

from collections.abc import Mapping

from torch import Tensor

from mtpeft.converters.released import rename

_RULES = (
    (r'\.lora_shared_([AB])$', r'.adapter.\1'),
    (r'\.lora_tasks_([AB])\.', r'.adapter.task_\1.'),
    (r'\.lora_norm\.', '.adapter.norm.'),
)


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
    return rename(state, _RULES)
