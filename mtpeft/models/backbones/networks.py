"""Build a stock network from a config, without any download."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import timm
from mmengine.registry import DefaultScope
from timm.models import is_model, list_models, model_entrypoint
from torch import nn

from mtpeft.models.backbones.families import FAMILIES
from mtpeft.models.backbones.stage_options import check_stages
from mtpeft.registry import MODELS
from mtpeft.utils.suggest import hint

TIMM = 'timm.'


def is_timm(cfg: Mapping) -> bool:
    """Is ``cfg['type']`` a timm model, ``'timm.<model name>'``?"""
    return isinstance(cfg.get('type'), str) and cfg['type'].startswith(TIMM)


def build_network(cfg: Mapping | nn.Module) -> nn.Module:
    """Build a network with random weights, to take levels of.

    Args:
        cfg: ``dict(type='timm.<model name>', **options of timm.create_model)`` or the config of
            any registered backbone, e.g. ``dict(type='mmseg.SwinTransformer', ...)``; or a network,
            which is taken as it is.

    Raises:
        KeyError: an unknown timm model (the nearest names are given) or type.
        TypeError: an option that the model does not take.
        ValueError: an option of timm has more or fewer values than there are stages.
    """
    return _network(cfg, _create)


def make_network(cfg: Mapping | nn.Module) -> nn.Module:
    """A network as it is used by itself, with its classifier: see :func:`build_network`."""
    return _network(cfg, lambda name, options: timm.create_model(name, pretrained=False, **options))


def one_network(
    cfg: Mapping | nn.Module | None, network: nn.Module | None
) -> Mapping | nn.Module:  # fmt: skip
    """The config of a network or the network itself, whichever was given.

    Raises:
        TypeError: neither or both; what is called a network is a config.
    """
    if network is None and cfg is not None:
        return cfg
    if cfg is not None or not isinstance(network, nn.Module):
        given = 'both' if cfg is not None else 'neither' if network is None else repr(network)
        raise TypeError(
            "Expected backbone=dict(type='timm.<model name>', ...), or network= with a network "
            f'that is there, got {given}.'
        )
    return network


def described(cfg: Mapping | nn.Module) -> dict[str, Any]:
    """The config of a network; of one that was given, its class alone.

    Example:
        >>> described(nn.Linear(2, 2))
        {'type': 'torch.nn.modules.linear.Linear'}
    """
    if isinstance(cfg, nn.Module):
        return dict(type=f'{type(cfg).__module__}.{type(cfg).__qualname__}')
    return dict(cfg)


def _network(cfg: Mapping | nn.Module, create: Callable[[str, Mapping], nn.Module]) -> nn.Module:
    if isinstance(cfg, nn.Module):
        return _called(cfg)
    options = {k: v for k, v in cfg.items() if k not in ('type', 'pretrained', 'init_cfg')}
    if not is_timm(cfg):
        with DefaultScope.overwrite_default_scope(_scope(cfg['type'])):
            return MODELS.build({'type': cfg['type'], **options})
    check_stages(timm_entry(cfg['type']), options)
    name = cfg['type'][len(TIMM) :]
    try:
        return _called(create(name, options))
    except TypeError as error:
        raise TypeError(f"timm model '{name}' was given a wrong option: {error}.") from error


def _called(network: nn.Module) -> nn.Module:
    """Let attention call qkv, which it may else read the weight of, past an adapter."""
    for module in network.modules():
        if hasattr(module, 'qkv_bias_separate'):
            module.qkv_bias_separate = True
    return network


def _create(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A timm network with ``options``, and with those of the families that its class takes."""
    ours = {'num_classes': 0}
    for family in FAMILIES:
        ours |= family.build_options
    ours = {key: value for key, value in ours.items() if key not in options}
    while True:
        try:
            return timm.create_model(name, pretrained=False, **ours, **options)
        except TypeError as error:
            # which class an architecture has shows when it is called
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None or unknown[1] not in ours:
                raise
            del ours[unknown[1]]


def _scope(kind: str | type) -> str:
    """The package whose names the parts of a network mean, of a registered name or a class."""
    if isinstance(kind, str):
        return kind.split('.')[0] if '.' in kind else 'mtpeft'
    package = str(getattr(kind, '__module__', '')).split('.')[0]
    return package if package in MODELS.parent.children else 'mtpeft'


def timm_entry(kind: str) -> Callable:
    """timm's function for a type, ``'timm.<model name>'``.

    Raises:
        KeyError: an unknown model; the nearest names are given.
    """
    name = kind[len(TIMM) :]
    architecture = name.split('.')[0]
    if not is_model(architecture):
        raise KeyError(f"timm has no model '{name}'. " + hint(architecture, list_models()))
    return model_entrypoint(architecture)
