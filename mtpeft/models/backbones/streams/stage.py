"""One shared stream through the network, and each task's lane through the last block of a stage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mtpeft.adapters import AdapterLayer
from mtpeft.models.backbones.families import Stage
from mtpeft.structures.levels import Unreduced
from mtpeft.utils.requested import positions

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone


def stage_levels(
    backbone: 'AdapterBackbone', x: Tensor, wanted: Sequence[str], unreduced: bool = False
) -> dict[str, tuple[Tensor, ...]] | tuple[Tensor, ...]:
    """Levels of each ``wanted`` task from the stem's map, or one tuple where there are no tasks.

    ``unreduced`` as in :meth:`AdapterBackbone.forward`.
    """
    family, stream = backbone.family, backbone.token_stream
    tasks = positions(wanted, backbone.tasks)
    x, tokens = (x, None) if stream is None else stream.start(x)
    levels = []
    for index, stage in enumerate(family.stages):
        if tokens is not None:
            tokens = stream.enter(index, tokens)
        x, taps, tokens = run_stage(backbone, stage, x, tokens, tasks, unreduced)
        # of lanes, where the stage has any, nobody reads the shared stream beside them
        taps = taps[1:] or taps
        levels.append([t if isinstance(t, Unreduced) else family.to_nchw(t) for t in taps])
    if not backbone.tasks:
        return tuple(level[0] for level in levels)
    return {
        task: tuple(level[i if len(level) > 1 else 0] for level in levels)
        for i, task in enumerate(wanted)
    }


def run_stage(
    backbone: 'AdapterBackbone',
    stage: Stage,
    x: Tensor,
    tokens: Tensor | None,
    tasks: Sequence[int] | None,
    unreduced: bool = False,
) -> tuple[Tensor, list[Tensor | Unreduced], Tensor | None]:
    """The shared stream for the next stage, the tapped streams (shared, then lanes), tokens."""
    family, network = backbone.family, backbone.network
    size = family.size(x)
    family.fit_map(network, stage, size)
    lanes = None
    for name in stage.blocks:
        out, tokens = backbone._run_block(name, x, tokens, size, tasks)
        x, lanes = out if name in backbone.lanes else (out, lanes)
    streams = [x] if lanes is None else [x, *lanes]
    if stage.end is not None:
        streams = each(network.get_submodule(stage.end), streams)
        x = streams[0]
    if stage.merge is None:
        return x, backbone._normed(stage, streams), tokens
    merge = network.get_submodule(stage.merge)
    if backbone.tap == 'pre_merge':
        return family.run_merge(merge, x), backbone._normed(stage, streams), tokens
    # behind a stage's end the lanes no longer lie behind one another, and joining would copy them
    joins = unreduced and lanes is not None and stage.end is None
    weight = _reduction_weight(family.reduction(merge)) if joins else None
    if weight is not None:
        if isinstance(lanes, Tensor):
            rows = family.before_reduction(merge, lanes.flatten(0, 1)).chunk(len(lanes))
        else:
            rows = [family.before_reduction(merge, lane) for lane in lanes]
        x = family.run_merge(merge, x)
        return x, [x, *(Unreduced(r, weight) for r in rows)], tokens
    merged = family.run_merge(merge, torch.cat(streams)).chunk(len(streams))
    return merged[0], list(merged), tokens


def _reduction_weight(layer: nn.Module | None) -> Tensor | None:
    """Weight of the patch merging's linear map, ``None`` where it cannot be joined."""
    if not isinstance(layer, AdapterLayer):
        return None if layer is None else layer.weight
    return None if layer.adapter.tasks else layer.adapter.stream_weight(layer)


def each(module: nn.Module, streams: Sequence[Tensor | None]) -> list[Tensor | None]:
    """``module`` of every stream that there is."""
    return [None if s is None else module(s) for s in streams]
