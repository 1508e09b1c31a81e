"""Weights of the plain network with adapters merged in."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mtpeft.adapters import AdapterModule, NotMergeableError
from mtpeft.utils.suggest import hint

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone


def merged_state_dict(backbone: 'AdapterBackbone', task: str | None = None) -> dict[str, Tensor]:
    """See :meth:`AdapterBackbone.merged_state_dict`."""
    _check(backbone, task)
    state = {k: v for k, v in backbone.network.state_dict().items() if '.adapter.' not in k}
    for name, layer in backbone.adapter_layers().items():
        if isinstance(layer, AdapterModule) and task is None:
            continue  # nothing of it is in the shared stream
        with torch.no_grad():
            own = task if layer.adapter.tasks else None
            state[f'{name}.weight'] = layer.adapter.weight(layer, own)
    return state


def _check(backbone: 'AdapterBackbone', task: str | None) -> None:
    if backbone.token_stream is not None:
        raise NotMergeableError(
            'Patches attend to task tokens or prompts, which no plain network has: no merge. '
            "A clock with tokens='free', or no prompts, leaves a network that can be merged."
        )
    if task is not None and task not in backbone.tasks:
        raise KeyError(f"The backbone has no task '{task}'. " + hint(task, backbone.tasks))
    if backbone.streams == 'stage' and task is not None:
        raise NotMergeableError(
            f"The lane of '{task}' exists in the last block of each stage only, so no plain "
            "network is it; task=None merges the shared path. streams='network' has one for "
            'each task.'
        )
    if backbone.streams == 'network' and task is None:
        raise NotMergeableError(
            "With streams='network' each task has a network of its own; name one: "
            f'task={" | ".join(map(repr, backbone.tasks))}.'
        )
