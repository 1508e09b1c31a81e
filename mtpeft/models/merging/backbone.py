"""A backbone with its adapters merged, for inference."""

from typing import TYPE_CHECKING

import torch

from mtpeft.adapters.merged import merge_layer
from mtpeft.models.backbones.families import GenericFamily
from mtpeft.models.merging.fold_norms import fold, traced_pairs
from mtpeft.models.merging.in_place import InPlaceGELU, plain_gelus
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Swaps

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone

_PROMPTS = 'patches attend to prompts or task tokens, which no weight can hold'


def merge_backbone(backbone: 'AdapterBackbone', reversible: bool = True) -> MergeReport:
    """See :meth:`AdapterBackbone.merge_adapters`."""
    backbone.refuse_if_merged('It cannot be merged again')
    backbone.eval()
    report, swaps = MergeReport(), Swaps()
    backbone._swaps = swaps
    try:
        _merge_layers(backbone, swaps, report)
        _find_layers(backbone)
        _fold_norms(backbone, swaps, report)
        _write_over_inputs(backbone, swaps)
    except BaseException:
        unmerge_backbone(backbone)
        raise
    if not reversible:
        swaps.give_up()
    return report


def unmerge_backbone(backbone: 'AdapterBackbone') -> None:
    """See :meth:`AdapterBackbone.unmerge_adapters`."""
    if backbone._swaps is None:
        return
    backbone._swaps.undo(backbone.network)
    backbone._swaps = None
    _find_layers(backbone)


def _merge_layers(backbone: 'AdapterBackbone', swaps: Swaps, report: MergeReport) -> None:
    prefixes = _lane_prefixes(backbone)
    idle = {id(adapter) for adapter in backbone.idle_adapters()}
    for name, layer in backbone.adapter_layers().items():
        new, done, reason = merge_layer(
            layer,
            in_lane_block=name.startswith(prefixes),
            has_shared=backbone.streams == 'stage' or not layer.adapter.tasks,
            idle=id(layer.adapter) in idle,
        )
        report.add(name, type(layer.adapter).__name__, done, reason)
        if new is not None:
            swaps.put(backbone.network, name, new)
    stream = backbone.token_stream
    if stream is not None:
        report.add('token_stream', type(stream).__name__, 'left', _PROMPTS)


def _lane_prefixes(backbone: 'AdapterBackbone') -> tuple[str, ...]:
    """Of the blocks that run for the shared stream and for lanes."""
    stage_lanes = backbone.lanes if backbone.streams == 'stage' else ()
    return tuple(f'{name}.' for name in stage_lanes)


def _find_layers(backbone: 'AdapterBackbone') -> None:
    """Note which layers of the network have adapters now."""
    for lane in backbone.lanes.values():
        lane.find_layers()


def _fold_norms(backbone: 'AdapterBackbone', swaps: Swaps, report: MergeReport) -> None:
    """Where a block runs once a pass. A lane block runs for the lanes too, and keeps its norms."""
    modules = backbone.network.modules()
    if not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in modules):
        return
    side = 224 if isinstance(backbone.family, GenericFamily) else 64
    weight = next(backbone.network.parameters())
    picture = weight.new_zeros(1, 3, side, side).requires_grad_()
    for conv, norm in traced_pairs(backbone.network, lambda: backbone(picture)):
        if conv.startswith(_lane_prefixes(backbone)):
            continue
        kind = type(backbone.network.get_submodule(norm)).__name__
        if fold(backbone.network, conv, norm, swaps):
            report.add(norm, kind, 'norm', f'into {conv}')


def _write_over_inputs(backbone: 'AdapterBackbone', swaps: Swaps) -> None:
    """Let activations save memory where no lane reads what the shared stream had before them."""
    if backbone.streams != 'stage':  # the lanes pass every block
        return
    prefixes = _lane_prefixes(backbone)
    for name, act in list(plain_gelus(backbone.network)):
        if not name.startswith(prefixes):
            swaps.put(backbone.network, name, InPlaceGELU(act.approximate))
