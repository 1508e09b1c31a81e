"""Between the backbone's levels and the heads."""

from mtpeft.models.necks.projection import ProjectionNeck

__all__ = ['ProjectionNeck']
