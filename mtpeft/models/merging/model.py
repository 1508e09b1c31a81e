"""The decoder of a model merged, for inference: formed heads, folded norms."""

import torch
from torch import nn

from mtpeft.models.heads import HRNetHead
from mtpeft.models.merging.fold_norms import conv_modules, fold
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Swaps


def merge_decoder(model: nn.Module, swaps: Swaps, report: MergeReport) -> None:
    """Merge ``model.decoder``, in place: a shared base becomes a convolution for each task.

    Args:
        model: What has the decoder, in eval mode.
        swaps: Notes what was set aside.
        report: Gets what was done.
    """
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
