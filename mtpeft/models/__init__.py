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
from mtpeft.models.loss_weighting import (
    DynamicWeightAverage,
    FixedWeighting,
    GeometricLoss,
    GradNorm,
    NashMTL,
    PCGrad,
    RandomLossWeighting,
    TorchJD,
    UncertaintyWeighting,
)
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
    'AdaptedNetwork', 'AdapterBackbone', 'BalancedBCELoss', 'ChannelwiseSpectralFilter',
    'CrossTaskConsensus', 'DistilledModel', 'DynamicWeightAverage', 'FixedWeighting',
    'GeometricLoss', 'GradNorm', 'HRNetHead', 'MaskedL1Loss', 'MultiHeadDecoder',
    'MultiTaskDataPreprocessor', 'MultiTaskModel', 'NashMTL', 'NormalsL1Loss', 'PCGrad',
    'PixelCrossEntropyLoss', 'ProjectionNeck', 'RandomLossWeighting', 'RescaleNeck',
    'SharedBaseDecoder', 'TADFormerBackbone', 'TSPD', 'TorchJD', 'UncertaintyWeighting', 'adapt',
    'decoder_components', 'effective_components',
    'parameter_components',
]  # fmt: skip
