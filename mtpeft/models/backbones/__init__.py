"""Backbones of any family with adapters and task lanes."""

from mtpeft.models.backbones.adapter_backbone import AdapterBackbone
from mtpeft.models.backbones.families import FAMILIES, Family, Stage, family_of
from mtpeft.models.backbones.pretrained import PretrainedWeightsError
from mtpeft.models.backbones.tadformer import TADFormerBackbone

__all__ = [
    'FAMILIES', 'AdapterBackbone', 'Family', 'PretrainedWeightsError', 'Stage', 'TADFormerBackbone',
    'family_of',
]  # fmt: skip
