"""Decode heads of mmsegmentation as heads of one dense task."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mtpeft.models.build import build_module
from mtpeft.tasks import DenseTask


def is_mmseg_head(target: Any) -> bool:
    """Whether ``target`` is a class derived from mmseg's ``BaseDecodeHead``."""
    # whoever derived a class from it has imported it; nobody else needs to pay for the import
    module = sys.modules.get('mmseg.models.decode_heads.decode_head')
    return module is not None and isinstance(target, type) and issubclass(
        target, module.BaseDecodeHead
    )  # fmt: skip


def build_mmseg_head(cfg: Mapping, task: DenseTask, in_channels: Sequence[int]) -> nn.Module:
    """Build an mmseg decode head that predicts ``task`` from levels of widths ``in_channels``.

    ``num_classes``, ``out_channels``, ``threshold``, ``in_channels`` and ``in_index`` are filled
    in where ``cfg`` leaves them out: all levels for a head that takes several, else the last one.
    The task's own loss is used, so the head's ``loss_decode`` is taken out with whatever
    parameters it has. Parameters that the head's output does not depend on are frozen, or
    DistributedDataParallel would wait for their gradients. SyncBN becomes BN where there is no
    GPU, as it refuses a CPU.

    Raises:
        ValueError: the head does not turn such levels into logits ``(B, channels, h, w)``.
    """
    cfg = dict(cfg)
    cfg.setdefault('num_classes', task.channels)
    cfg.setdefault('out_channels', task.channels)
    if task.channels == 1:
        cfg.setdefault('threshold', 0.5)  # not used; mmseg warns where it is missing
    head = _build(cfg, tuple(in_channels))
    head.loss_decode = nn.ModuleList()
    if not torch.cuda.is_available():
        head = revert_sync_batchnorm(head)
    _freeze_unused(head, task, in_channels)
    return head


def _build(cfg: dict, widths: tuple[int, ...]) -> nn.Module:
    index = cfg.get('in_index')
    if 'in_channels' in cfg:
        if index is None and isinstance(cfg['in_channels'], Sequence):
            cfg['in_index'] = list(range(len(cfg['in_channels'])))
        return build_module(cfg)
    if isinstance(index, int):
        return build_module({**cfg, 'in_channels': widths[index]})
    if index is not None:
        return build_module({**cfg, 'in_channels': [widths[i] for i in index]})
    several = dict(in_channels=list(widths), in_index=list(range(len(widths))))
    one = dict(in_channels=widths[-1], in_index=len(widths) - 1)
    try:
        return build_module({**cfg, **several})
    except AssertionError:
        # whether a head takes several levels is decided, and asserted, inside its constructor
        return build_module({**cfg, **one})


def _freeze_unused(head: nn.Module, task: DenseTask, widths: Sequence[int]) -> None:
    """Freeze parameters that do not reach the logits, found in the graph of a tiny forward."""
    name = type(head).__name__
    training = head.training
    head.eval()  # BatchNorm statistics and the random state stay as they are
    levels = [torch.zeros(1, width, *size) for width, size in _tiny_levels(widths)]
    expected = f"{name} of task '{task.name}': expected logits (B, {task.channels}, h, w) from "
    expected += f'levels of widths {tuple(widths)}'
    try:
        with torch.enable_grad():
            logits = head(levels)
    except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(f'{expected}, got {type(error).__name__}: {error}') from error
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[1] != task.channels:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f'{expected}, got {got}.')
    head.train(training)
    used = _leaves(logits)
    for key, parameter in head.named_parameters():
        if parameter.requires_grad and id(parameter) not in used:
            parameter.requires_grad_(False)
            print_log(f"{name} of task '{task.name}' does not use {key}: frozen.", 'current')


def _tiny_levels(widths: Sequence[int]) -> list[tuple[int, tuple[int, int]]]:
    return [(width, (max(8 >> i, 2),) * 2) for i, width in enumerate(widths)]


def _leaves(output: Tensor) -> set[int]:
    """Identities of the parameters in the graph of ``output``."""
    leaves, seen, stack = set(), set(), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            leaves.add(id(node.variable))
        stack.extend(function for function, _ in node.next_functions)
    return leaves
