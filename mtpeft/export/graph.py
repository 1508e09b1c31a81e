"""A model as a graph of torch.export, of which both kinds of files are made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.models.hiera import MaskUnitAttention
from torch import nn
from torch.export import Dim, ExportedProgram

from mtpeft.export.errors import ExportError
from mtpeft.export.exportable import Exportable
from mtpeft.export.sizes import check_network, constant_padding, least_side
from mtpeft.ops.plain import plain

#: an axis of length 1 would be taken for a constant
_BATCH = 2


def traced(
    module: Exportable, size: Sequence[int], dynamic_size: bool = False
) -> ExportedProgram:  # fmt: skip
    """The graph of a module, for any number of pictures.

    Args:
        module: See :func:`~mtpeft.export.exportable.prepared`.
        size: Height and width.
        dynamic_size: Take pictures of other sizes too.

    Raises:
        ExportError: the network takes pictures of one size only, or cannot be traced; where.
    """
    if dynamic_size:
        check_network(module)
    height, width = (1, 2) if not module.raw else (2, 3)
    axes: dict[int, Any] = {0: Dim('batch')}
    if dynamic_size:
        least = least_side(module)
        axes |= {height: Dim('height', min=least), width: Dim('width', min=least)}
    # what cannot be proved of open sizes is checked when the graph runs
    options = dict(prefer_deferred_runtime_asserts_over_guards=True) if dynamic_size else {}
    place: list[str] = []
    try:
        with plain(), torch.no_grad(), constant_padding(module), plain_attention(module), (
            _watched(module, place)
        ):  # fmt: skip
            return torch.export.export(
                module,
                (module.example(_BATCH, size),),
                dynamic_shapes=(axes,),
                strict=False,
                **options,
            )
    except Exception as error:  # (torch has many kinds)
        raise ExportError(_reason(error, place, dynamic_size)) from error


@contextmanager
def plain_attention(module: nn.Module) -> Iterator[None]:
    """Let Hiera write its attention out: ONNX has the fused one for ``(B, heads, N, C)`` alone."""
    fused = [m for m in module.modules() if isinstance(m, MaskUnitAttention) and m.fused_attn]
    for layer in fused:
        layer.fused_attn = False
    try:
        yield
    finally:
        for layer in fused:
            layer.fused_attn = True


@contextmanager
def _watched(module: nn.Module, place: list[str]) -> Iterator[None]:
    """Note in ``place`` the module that runs, to say where a trace ended."""

    def enter(name: str) -> Any:
        return lambda *_: place.append(name)

    def leave(*_: Any) -> None:
        if place:
            place.pop()

    handles = []
    for name, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(enter(name)))
        handles.append(part.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _reason(error: Exception, place: Sequence[str], dynamic_size: bool) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    first = ' '.join(line.strip() for line in lines[:2]) or type(error).__name__
    layer = next((name for name in reversed(place) if name), '')
    where = f' It ended in {layer.removeprefix("model.")}.' if layer else ''
    if dynamic_size:
        return (
            f'This model cannot be exported with a dynamic size: {first}{where} Export it at one '
            'size (without --dynamic-size), one file a size.'
        )
    return f'This model cannot be traced by torch.export: {first}{where}'
