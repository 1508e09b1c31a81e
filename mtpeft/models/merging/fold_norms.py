"""BatchNorm folded into the convolution before it, for inference."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from mmcv.cnn import ConvModule
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mtpeft.adapters import AdapterLayer
from mtpeft.models.merging.swaps import Swaps


def fold(root: nn.Module, conv: str, norm: str, swaps: Swaps) -> bool:
    """Fold the BatchNorm ``norm`` of ``root`` into the convolution ``conv``; was it possible?

    A norm with an activation (timm's ``BatchNormAct2d``) leaves it in its place.
    """
    layer, norm_layer = root.get_submodule(conv), root.get_submodule(norm)
    if not (_is_plain(layer) and _has_statistics(norm_layer)):
        return False
    with torch.no_grad():
        fused = fuse_conv_bn_eval(layer.eval(), norm_layer.eval()).requires_grad_(False)
    rest = nn.Identity()
    if isinstance(norm_layer, BatchNormAct2d):
        rest = nn.Sequential(norm_layer.drop, norm_layer.act)
    swaps.put(root, conv, fused)
    swaps.put(root, norm, rest)
    return True


def _is_plain(layer: nn.Module) -> bool:
    """Is it a convolution that is linear in its weight, and nothing more?"""
    forward = type(layer).forward
    known = forward in (nn.Conv2d.forward, Conv2dSame.forward)
    known = known or type(layer).__module__.startswith('mmcv.')
    return isinstance(layer, nn.Conv2d) and known and not isinstance(layer, AdapterLayer)


def _has_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def conv_modules(root: nn.Module) -> Iterable[tuple[str, str]]:
    """Names of convolution and norm of mmcv's ``ConvModule`` below ``root``."""
    for name, module in root.named_modules():
        if isinstance(module, ConvModule) and module.with_norm and module.order[:2] == _ORDER:
            prefix = f'{name}.' if name else ''
            yield f'{prefix}conv', f'{prefix}{module.norm_name}'


_ORDER = ('conv', 'norm')


def traced_pairs(root: nn.Module, run: Callable[[], Any]) -> list[tuple[str, str]]:
    """Names of the convolutions of ``root`` that one BatchNorm reads, and nothing else, with it.

    Found by running the network once: a pair is one where the very output of the convolution is
    the norm's input, each runs once, and the graph has no other reader of that output.

    Args:
        root: The network, in eval mode.
        run: Runs it on some picture; gives its outputs (tensors, in any containers).
    """
    outputs: dict[str, list[Tensor]] = {}
    inputs: dict[str, list[Tensor]] = {}

    def note(name: str, table: dict, index: Callable) -> Callable:
        return lambda module, args, out: table.setdefault(name, []).append(index(args, out))

    handles = []
    for name, module in root.named_modules():
        if isinstance(module, nn.Conv2d):
            hook = note(name, outputs, lambda args, out: out)
        elif isinstance(module, _BatchNorm):
            hook = note(name, inputs, lambda args, out: args[0])
        else:
            continue
        handles.append(module.register_forward_hook(hook))
    try:
        with torch.enable_grad():
            readers = _readers(run())
    finally:
        for handle in handles:
            handle.remove()
    made = {id(t[0]): name for name, t in outputs.items() if len(t) == 1}
    return [
        (made[id(x[0])], norm)
        for norm, x in inputs.items()
        if len(x) == 1 and id(x[0]) in made and readers.get(x[0].grad_fn) == 1
    ]


def _readers(outputs: Any) -> dict[Any, int]:
    """How many edges of the graph of ``outputs`` lead to each node."""
    tensors, stack = [], [outputs]
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            tensors.append(item)
        elif isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, (tuple, list)):
            stack += item
    counts: dict[Any, int] = {}
    nodes = [t.grad_fn for t in tensors if t.grad_fn is not None]
    for node in nodes:
        counts[node] = counts.get(node, 0) + 1
    seen = set()
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            if following is not None:
                counts[following] = counts.get(following, 0) + 1
                nodes.append(following)
    return counts
