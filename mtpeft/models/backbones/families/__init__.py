"""Backbone families: which modules are stages, blocks and patch merging, and what roles exist."""

from torch import nn

from mtpeft.models.backbones.families.base import Family, Stage
from mtpeft.models.backbones.families.generic import GenericFamily
from mtpeft.models.backbones.families.mmseg_swin import MMSegSwin
from mtpeft.models.backbones.families.timm_efficientnet import TimmEfficientNet
from mtpeft.models.backbones.families.timm_swin import TimmSwin

FAMILIES: list[type[Family]] = [TimmSwin, MMSegSwin, TimmEfficientNet]


def family_of(network: nn.Module) -> Family:
    """The table that describes ``network``; :class:`GenericFamily` for one without."""
    for family in FAMILIES:
        if family.serves(network):
            return family(network)
    return GenericFamily(network)


__all__ = ['FAMILIES', 'Family', 'GenericFamily', 'Stage', 'family_of']
