"""Adapters of a backbone merged into weights, for inference or for the plain network."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters import AdapterLayer, AdapterModule, NotMergeableError
from mtpeft.adapters.merged import merge_layer
from mtpeft.models.backbones.families import GenericFamily
from mtpeft.models.backbones.families.base import channels_in
from mtpeft.models.backbones.streams import Streams
from mtpeft.models.merging.fold_norms import fold, traced_pairs
from mtpeft.models.merging.in_place import InPlaceGELU, plain_gelus
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Swaps
from mtpeft.utils.suggest import hint

_PROMPTS = 'patches attend to prompts or task tokens, which no weight can hold'


def merge_network(
    network: nn.Module,
    layers: Mapping[str, AdapterLayer],
    streams: Streams,
    swaps: Swaps,
    report: MergeReport,
    run: Callable[[Tensor], Any],
) -> None:
    """Merge the adapters of a network, in place.

    See :meth:`~mtpeft.models.backbones.AdapterBackbone.merge_adapters`.

    Args:
        network: The network, in eval mode.
        layers: Its adapted layers by name.
        streams: What passes it.
        swaps: Notes what was set aside.
        report: Gets what was done.
        run: The levels of a picture, to find which norm reads which convolution.
    """
    idle = {id(adapter) for adapter in streams.idle_adapters()}
    for name, layer in layers.items():
        new, done, reason = merge_layer(
            layer,
            in_lane_block=streams.runs_twice(name),
            has_shared=streams.shares or not layer.adapter.tasks,
            idle=id(layer.adapter) in idle,
        )
        report.add(name, type(layer.adapter).__name__, done, reason)
        if new is not None:
            swaps.put(network, name, new)
    if streams.tokens is not None:
        report.add('token_stream', type(streams.tokens).__name__, 'left', _PROMPTS)
    streams.find_layers()
    _fold_norms(network, streams, swaps, report, run)
    _write_over_inputs(network, streams, swaps)


def _fold_norms(
    network: nn.Module,
    streams: Streams,
    swaps: Swaps,
    report: MergeReport,
    run: Callable[[Tensor], Any],
) -> None:
    """Where a block runs once a pass. A lane block runs for the lanes too, and keeps its norms."""
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()):
        return
    side = 224 if isinstance(streams.family, GenericFamily) else 64
    picture = (
        next(network.parameters()).new_zeros(1, channels_in(network), side, side).requires_grad_()
    )
    for conv, norm in traced_pairs(network, lambda: run(picture)):
        if streams.runs_twice(conv):
            continue
        kind = type(network.get_submodule(norm)).__name__
        if fold(network, conv, norm, swaps):
            report.add(norm, kind, 'norm', f'into {conv}')


def _write_over_inputs(network: nn.Module, streams: Streams, swaps: Swaps) -> None:
    """Let activations save memory where no lane reads what the shared stream had before them."""
    if not streams.shares:  # the lanes pass every block
        return
    for name, act in list(plain_gelus(network)):
        if not streams.runs_twice(name):
            swaps.put(network, name, InPlaceGELU(act.approximate))


def merged_state_dict(
    network: nn.Module,
    layers: Mapping[str, AdapterLayer],
    streams: Streams,
    task: str | None = None,
) -> dict[str, Tensor]:
    """See :meth:`~mtpeft.models.backbones.AdapterBackbone.merged_state_dict`."""
    if streams.tokens is not None:
        raise NotMergeableError(
            'Patches attend to task tokens or prompts, which no plain network has: no merge. '
            "A clock with tokens='free', or no prompts, leaves a network that can be merged."
        )
    if task is not None and task not in streams.tasks:
        raise KeyError(f"The backbone has no task '{task}'. " + hint(task, streams.tasks))
    streams.check_merge(task)
    state = {k: v for k, v in network.state_dict().items() if '.adapter.' not in k}
    for name, layer in layers.items():
        if isinstance(layer, AdapterModule) and task is None:
            continue  # nothing of it is in the shared stream
        with torch.no_grad():
            own = task if layer.adapter.tasks else None
            merged = layer.adapter.weight(layer, own)
            state[f'{name}.weight'] = merged.to(layer.weight.dtype)
    return state
