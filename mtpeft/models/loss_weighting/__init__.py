"""How the losses of the tasks become one, or their gradients."""

from mtpeft.models.loss_weighting.dynamic_weight_average import DynamicWeightAverage
from mtpeft.models.loss_weighting.fixed import FixedWeighting
from mtpeft.models.loss_weighting.geometric import GeometricLoss
from mtpeft.models.loss_weighting.grad_norm import GradNorm
from mtpeft.models.loss_weighting.gradient_weighting import GradientWeighting
from mtpeft.models.loss_weighting.random_loss_weighting import RandomLossWeighting
from mtpeft.models.loss_weighting.torchjd import NashMTL, PCGrad, TorchJD
from mtpeft.models.loss_weighting.uncertainty import UncertaintyWeighting

__all__ = [
    'DynamicWeightAverage', 'FixedWeighting', 'GeometricLoss', 'GradNorm', 'GradientWeighting',
    'NashMTL', 'PCGrad', 'RandomLossWeighting', 'TorchJD', 'UncertaintyWeighting',
]  # fmt: skip
