"""Weights learnt as homoscedastic uncertainty."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mtpeft.registry import MODELS
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks


@MODELS.register_module()
class UncertaintyWeighting(BaseModule):
    """Losses weighted by a learnt noise a task (Kendall et al., arXiv 1705.07115).

    With the log-variance ``s_t = log sigma_t^2``, one parameter a task::

        L = sum_t  c_t exp(-s_t) L_t + s_t / 2

    ``c_t`` is 1/2 for regression (kinds ``values`` and ``vectors``) and 1 for classification
    (``classes`` and ``binary``). The tasks' ``loss_weight`` is only used by
    ``log_variance='loss_weight'``. The sum can be negative.
    A task whose loss is 0 everywhere, because no picture of the global batch has a label for it,
    leaves its ``s_t`` as it is.

    Args:
        tasks: The model's tasks.
        log_variance: Start of every ``s_t``; ``'loss_weight'``: the one at which each loss has its
            task's ``loss_weight``, ``s_t = log(c_t / w_t)``. An optimizer of rate r moves it by
            about r a step, so that a short run stays near its start.

    Raises:
        ValueError: another word, or a task whose ``loss_weight`` is not positive.

    Example:
        >>> import torch
        >>> weighting = UncertaintyWeighting(tasks=['semseg', 'depth'])
        >>> losses = dict(semseg=torch.tensor(3.0), depth=torch.tensor(2.0))
        >>> {name: loss.item() for name, loss in weighting(losses).items()}
        {'semseg': 3.0, 'depth': 1.0}
    """

    def __init__(
        self, tasks: TaskSpec, log_variance: float | Literal['loss_weight'] = 0.0
    ) -> None:  # fmt: skip
        super().__init__()
        tasks = build_tasks(tasks)
        if isinstance(log_variance, str) and log_variance != 'loss_weight':
            raise ValueError(
                f"log_variance='{log_variance}' is unknown: give a number or 'loss_weight'."
            )
        self.factors = {
            name: 0.5 if task.kind in ('values', 'vectors') else 1.0 for name, task in tasks.items()
        }
        starts = {
            name: _balance(task, self.factors[name]) if log_variance == 'loss_weight'
            else float(log_variance)
            for name, task in tasks.items()
        }  # fmt: skip
        self.log_variance = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(start)) for name, start in starts.items()}
        )

    def forward(
        self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses, to be summed.

        Args:
            losses: This process's share of each task's loss, in the graph.
            values: The losses averaged over all processes, detached. Default: ``losses``.
        """
        values = losses if values is None else values
        weighted = {}
        for name, loss in losses.items():
            s = self.log_variance[name]
            penalty = s / 2 * (values[name].detach() != 0)
            weighted[name] = self.factors[name] * torch.exp(-s) * loss + penalty
        return weighted

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {'loss_weighting': [name for name, _ in self.named_parameters()]}


def _balance(task: DenseTask, factor: float) -> float:
    """The log-variance at which a loss has its task's weight."""
    if not task.loss_weight > 0:
        raise ValueError(
            f"log_variance='loss_weight' needs positive weights, and '{task.name}' has "
            f'loss_weight={task.loss_weight}.'
        )
    return math.log(factor / task.loss_weight)
