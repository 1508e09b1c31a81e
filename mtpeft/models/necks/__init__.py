"""Between the backbone's levels and the heads."""

from mtpeft.models.necks.cw_sp import ChannelwiseSpectralFilter
from mtpeft.models.necks.projection import ProjectionNeck
from mtpeft.models.necks.rescale import RescaleNeck
from mtpeft.models.necks.ts_pd import TSPD
from mtpeft.models.necks.xt_cons import CrossTaskConsensus

__all__ = [
    'ChannelwiseSpectralFilter', 'CrossTaskConsensus', 'ProjectionNeck', 'RescaleNeck', 'TSPD',
]  # fmt: skip
