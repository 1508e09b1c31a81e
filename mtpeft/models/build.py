"""Parts of a model from configs, with what the model knows filled in."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import nn

from mtpeft.registry import MODELS


def resolve(cfg: Mapping) -> Any:
    """The class ``cfg['type']`` stands for, ``None`` where it is not registered."""
    kind = cfg.get('type')
    if not isinstance(kind, str):
        return kind
    try:
        return MODELS.get(kind)
    except RuntimeError:
        return None


def accepts(target: Any, option: str) -> bool:
    """Whether ``target``'s constructor names ``option`` among its arguments."""
    return target is not None and option in inspect.signature(target).parameters


def build_module(cfg: Mapping | nn.Module, **known: Any) -> nn.Module:
    """Build a part of a model, whatever the config's default scope is.

    Args:
        cfg: Config of the part, or the part itself, which is returned as it is. A type without a
            scope is one of mtpeft's (``'HRNetHead'``), any other is written with its scope
            (``'mmseg.FPN'``).
        **known: Options that are used where ``cfg`` leaves them out and the part has them.

    Raises:
        KeyError: the type is not registered (the nearest names are given).
        TypeError: an option is unknown, or a required one is missing.
    """
    if isinstance(cfg, nn.Module):
        return cfg
    target = resolve(cfg)
    if target is None:
        return MODELS.build(cfg)
    options = {k: v for k, v in known.items() if k not in cfg and accepts(target, k)}
    with DefaultScope.overwrite_default_scope(_scope(target)):
        return MODELS.build({**cfg, **options, 'type': target})


def _scope(target: Any) -> str:
    """Scope in which ``target`` builds its own parts, by names that only its package knows."""
    for base in getattr(target, '__mro__', (target,)):
        package = base.__module__.split('.')[0]
        if package in MODELS.parent.children:
            return package
    return MODELS.scope


def number_type(module: nn.Module) -> torch.dtype:
    """The type of a module's first numbers that are no integers."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def unused_parameters(backbone: nn.Module) -> list[str]:
    """Names, in a model, of its backbone's parameters that have no effect."""
    names = getattr(backbone, 'unused_parameter_names', list)()
    return [f'backbone.{name}' for name in names]
