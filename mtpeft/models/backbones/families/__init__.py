"""Backbone families: which modules are stages, blocks and patch merging, and what roles exist."""

from torch import nn

from mtpeft.models.backbones.families.base import COMMON_GROUPS, Family, Stage
from mtpeft.models.backbones.families.generic import GenericFamily
from mtpeft.models.backbones.families.mmseg_mit import MMSegMiT
from mtpeft.models.backbones.families.mmseg_resnet import MMSegResNet
from mtpeft.models.backbones.families.mmseg_swin import MMSegSwin
from mtpeft.models.backbones.families.timm_beit import TimmBeit
from mtpeft.models.backbones.families.timm_convnext import TimmConvNeXt
from mtpeft.models.backbones.families.timm_efficientnet import TimmEfficientNet
from mtpeft.models.backbones.families.timm_eva import TimmEva
from mtpeft.models.backbones.families.timm_hiera import TimmHiera
from mtpeft.models.backbones.families.timm_pvt import TimmPVT
from mtpeft.models.backbones.families.timm_swin import TimmSwin
from mtpeft.models.backbones.families.timm_swin_v2 import TimmSwinV2
from mtpeft.models.backbones.families.timm_vit import TimmViT

FAMILIES: list[type[Family]] = [
    TimmSwin, TimmSwinV2, TimmViT, TimmEva, TimmBeit, TimmPVT, TimmHiera, TimmConvNeXt,
    TimmEfficientNet,
    MMSegSwin, MMSegMiT, MMSegResNet,
]  # fmt: skip


def family_of(network: nn.Module) -> Family:
    """The table that describes ``network``; :class:`GenericFamily` for one without."""
    for family in FAMILIES:
        if family.serves(network):
            return family(network)
    return GenericFamily(network)


__all__ = ['COMMON_GROUPS', 'FAMILIES', 'Family', 'GenericFamily', 'Stage', 'family_of']
