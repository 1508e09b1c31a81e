"""Between the backbone's levels and the heads."""

from mtpeft.models.necks.projection import ProjectionNeck
from mtpeft.models.necks.rescale import RescaleNeck

__all__ = ['ProjectionNeck', 'RescaleNeck']
