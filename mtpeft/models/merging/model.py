"""A whole model merged, for inference: backbone, heads, norms."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from mtpeft.models.heads import HRNetHead
from mtpeft.models.merging.fold_norms import conv_modules, fold
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging, Swaps

if TYPE_CHECKING:
    from mtpeft.models.multi_task_model import MultiTaskModel


def merge_model(model: 'MultiTaskModel', reversible: bool = True) -> MergeReport:
    """See :meth:`MultiTaskModel.merge_adapters`."""
    model.refuse_if_merged('It cannot be merged again')
    model.eval()
    model._swaps = swaps = Swaps()
    backbone = model.backbone
    model._merged_backbone = isinstance(backbone, Merging) and not backbone.merged
    try:
        report = MergeReport()
        if model._merged_backbone:
            report = backbone.merge_adapters(reversible, log=False)
        _merge_decoder(model, swaps, report)
    except BaseException:
        unmerge_model(model)
        raise
    if not reversible:
        swaps.give_up()
    return report


def unmerge_model(model: 'MultiTaskModel') -> None:
    """See :meth:`MultiTaskModel.unmerge_adapters`."""
    if model._swaps is None:
        return
    model._swaps.undo(model)
    model._swaps = None
    if model._merged_backbone:
        model.backbone.unmerge_adapters()


def _merge_decoder(model: 'MultiTaskModel', swaps: Swaps, report: MergeReport) -> None:
    if hasattr(model.decoder, 'formed_heads'):
        kind = type(model.decoder).__name__
        with torch.no_grad():
            swaps.put(model, 'decoder', model.decoder.formed_heads())
        report.add('decoder', kind, 'heads', 'one first convolution for each task')
    for conv, norm in _head_norms(model.decoder):
        kind = type(model.get_submodule(f'decoder.{norm}')).__name__
        if fold(model, f'decoder.{conv}', f'decoder.{norm}', swaps):
            report.add(f'decoder.{norm}', kind, 'norm', f'into decoder.{conv}')


def _head_norms(decoder: nn.Module) -> list[tuple[str, str]]:
    own = [
        (f'{name}.conv1', f'{name}.norm')
        for name, module in decoder.named_modules()
        if isinstance(module, HRNetHead)
    ]
    return [*own, *conv_modules(decoder)]
