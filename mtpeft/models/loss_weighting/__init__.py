"""How the losses of the tasks become one."""

from mtpeft.models.loss_weighting.fixed import FixedWeighting
from mtpeft.models.loss_weighting.uncertainty import UncertaintyWeighting

__all__ = ['FixedWeighting', 'UncertaintyWeighting']
