"""Optimizer wrappers and the grouping of parameters."""

from mtpeft.optim.autocast_wrapper import AutocastOptimWrapper
from mtpeft.optim.flat_no_decay import FlatNoDecayConstructor

__all__ = ['AutocastOptimWrapper', 'FlatNoDecayConstructor']
