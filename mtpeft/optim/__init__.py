"""Optimizer wrappers and the grouping of parameters."""

from mtpeft.optim.autocast_wrapper import AutocastOptimWrapper
from mtpeft.optim.flat_no_decay import FlatNoDecayConstructor
from mtpeft.optim.task_gradients import TaskGradients
from mtpeft.optim.taskwise_constructor import TaskwiseConstructor

__all__ = ['AutocastOptimWrapper', 'FlatNoDecayConstructor', 'TaskGradients', 'TaskwiseConstructor']
