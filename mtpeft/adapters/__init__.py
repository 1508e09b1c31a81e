"""Adapters: one file a method, swapped into a frozen network by pattern."""

from mtpeft.adapters.adalora import AdaLoRA
from mtpeft.adapters.base import Adapter, NotMergeableError, check_rank
from mtpeft.adapters.bottleneck import BottleneckAdapter
from mtpeft.adapters.clock_net import ClockNet
from mtpeft.adapters.common import CommonModule, SharesAcrossLayers, Site
from mtpeft.adapters.compacter import Compacter
from mtpeft.adapters.ditask import DiTASK
from mtpeft.adapters.dora import DoRA
from mtpeft.adapters.hyperformer import HyperFormer
from mtpeft.adapters.hypernetwork import HyperNetwork
from mtpeft.adapters.inject import adapt_layer, inject
from mtpeft.adapters.lanes.block import LaneBlock
from mtpeft.adapters.layers import (
    AdapterConv2d,
    AdapterConv2dSame,
    AdapterLayer,
    AdapterLinear,
    AdapterModule,
)
from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.mtlora import MTLoRA
from mtpeft.adapters.polyhistor import Polyhistor
from mtpeft.adapters.ranks.low_rank import LowRankAdapter, low_rank_adapters, rank_pattern
from mtpeft.adapters.sine_awb import SineAWB
from mtpeft.adapters.sine_lora import SineLoRA
from mtpeft.adapters.tadformer import TADFormer
from mtpeft.adapters.vl_adapter import VLAdapter

__all__ = [
    'AdaLoRA', 'Adapter', 'AdapterConv2d', 'AdapterConv2dSame', 'AdapterLayer', 'AdapterLinear',
    'AdapterModule', 'BottleneckAdapter', 'ClockNet', 'CommonModule', 'Compacter', 'DiTASK', 'DoRA',
    'HyperFormer', 'HyperNetwork', 'LaneBlock', 'LoRA', 'LowRankAdapter', 'MTLoRA',
    'NotMergeableError', 'Polyhistor', 'SharesAcrossLayers', 'SineAWB', 'SineLoRA', 'Site',
    'TADFormer', 'VLAdapter', 'adapt_layer', 'check_rank', 'inject', 'low_rank_adapters',
    'rank_pattern',
]  # fmt: skip
