"""Models: backbones, necks, heads, decoders, losses and what holds them together."""

from mtpeft.models.adapt import adapt
from mtpeft.models.adapted_network import AdaptedNetwork
from mtpeft.models.backbones import AdapterBackbone, TADFormerBackbone
from mtpeft.models.components import (
    decoder_components,
    effective_components,
    parameter_components,
)
from mtpeft.models.data_preprocessor import MultiTaskDataPreprocessor
from mtpeft.models.decoders import MultiHeadDecoder, SharedBaseDecoder
from mtpeft.models.distillation import DistilledModel
from mtpeft.models.heads import HRNetHead
from mtpeft.models.loss_weighting import FixedWeighting, UncertaintyWeighting
from mtpeft.models.losses import (
    BalancedBCELoss,
    MaskedL1Loss,
    NormalsL1Loss,
    PixelCrossEntropyLoss,
)
from mtpeft.models.multi_task_model import MultiTaskModel
from mtpeft.models.necks import (
    TSPD,
    ChannelwiseSpectralFilter,
    CrossTaskConsensus,
    ProjectionNeck,
    RescaleNeck,
)

__all__ = [
    'AdaptedNetwork', 'AdapterBackbone', 'BalancedBCELoss',
    'ChannelwiseSpectralFilter', 'CrossTaskConsensus',
    'DistilledModel', 'FixedWeighting', 'HRNetHead', 'MaskedL1Loss', 'MultiHeadDecoder',
    'MultiTaskDataPreprocessor', 'MultiTaskModel', 'NormalsL1Loss', 'PixelCrossEntropyLoss',
    'ProjectionNeck', 'RescaleNeck', 'SharedBaseDecoder', 'TADFormerBackbone', 'TSPD',
    'UncertaintyWeighting', 'adapt', 'decoder_components', 'effective_components',
    'parameter_components',
]  # fmt: skip
