"""Checkpoints of the released DiTASK code, and of MTLoRA's Swin completed with its layer."""

from collections.abc import Mapping

from torch import Tensor

from mtpeft.converters.kinds import DITASK, check_kind
from mtpeft.converters.released import SCALES, rename

_RULES = (
    (r'\.lora_shared_A$', '.adapter.theta'),
    (r'\.lora_tasks_A\.', '.adapter.task_theta.'),
)
# qkv has task parameters there, in every block, whose results are thrown away
# (and scales, learnt or not, are nowhere read)
_UNREAD = rf'\.qkv\.lora_tasks_A\.|{SCALES.pattern}'


def ditask_to_mtpeft(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a DiTASK model for ``configs/ditask/ditask_swin-t_*``.

    As :func:`~mtpeft.converters.mtlora_to_mtpeft`. Task parameters of qkv, and scales, which change
    nothing, are dropped.

    Args:
        state: The released state dict; a flow's theta ``(1, N - 1)`` is called ``lora_shared_A``
            there.

    Returns:
        The state dict of a ``MultiTaskModel``.

    Raises:
        ValueError: the state dict is of another code, or a key is of no known kind.
    """
    check_kind(state, DITASK)
    return rename(state, _RULES, _UNREAD)
