"""Checkpoints of the released DiTASK code, and of MTLoRA's Swin completed with its layer."""

from collections.abc import Mapping

from torch import Tensor

from mtpeft.converters.released import rename

_RULES = (
    (r'\.lora_shared_A$', '.adapter.theta'),
    (r'\.lora_tasks_A\.', '.adapter.task_theta.'),
)
# qkv has task parameters there, in every block, whose results are thrown away
_UNREAD = r'\.qkv\.lora_tasks_A\.'


def ditask_to_mtpeft(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a DiTASK model for ``configs/ditask/ditask_swin-t_*``.

    As :func:`~mtpeft.converters.mtlora_to_mtpeft`. Task parameters of qkv, which change nothing,
    are dropped.

    Args:
        state: The released state dict; a flow's theta ``(1, N - 1)`` is called ``lora_shared_A``
            there.

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: the state dict is none of DiTASK's, or a key is of no known kind.
    """
    flows = [key for key in state if key.endswith('.lora_shared_A')]
    if not flows or any('.lora_shared_B' in key for key in state):
        raise ValueError(
            'expected the state dict of a DiTASK model (keys such as '
            "'backbone.layers.0.blocks.0.attn.qkv.lora_shared_A' and none with 'lora_shared_B', "
            f'which is MTLoRA), got keys such as {sorted(state)[:3]}.'
        )
    return rename(state, _RULES, _UNREAD)
