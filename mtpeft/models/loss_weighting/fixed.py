"""Weights that stay."""

import math
from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor

from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.kinds import NotNegative
from mtpeft.utils.suggest import hint


@MODELS.register_module()
class FixedWeighting(BaseModule):
    """Weighted sum with constant weights: ``L = sum_t w_t L_t``.

    Args:
        tasks: The model's tasks; their ``loss_weight`` is the default weight (semseg 1,
            human_parts 2, sal 5, normals 10, edge 50, depth 1).
        weights: Weights by task that replace the tasks' own.

    Raises:
        KeyError: ``weights`` names a task the model does not have.
        ValueError: a weight is negative or not finite.

    Example:
        >>> import torch
        >>> weighting = FixedWeighting(tasks=['sal', 'depth'], weights=dict(depth=0.5))
        >>> weighting(dict(sal=torch.tensor(1.0), depth=torch.tensor(2.0)))
        {'sal': tensor(5.), 'depth': tensor(1.)}
    """

    def __init__(self, tasks: TaskSpec, weights: Mapping[str, NotNegative] | None = None) -> None:
        super().__init__()
        self.weights = {name: task.loss_weight for name, task in build_tasks(tasks).items()}
        for name, weight in (weights or {}).items():
            if name not in self.weights:
                raise KeyError(f"No task '{name}' to weight. " + hint(name, self.weights))
            self.weights[name] = weight
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f"Expected the weight of task '{name}' to be finite and not negative, "
                    f'got {weight}.'
                )

    def forward(
        self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses, to be summed.

        Args:
            losses: This process's share of each task's loss, in the graph.
            values: The losses averaged over all processes, detached (unused here).
        """
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def extra_repr(self) -> str:
        return ', '.join(f'{name}={weight}' for name, weight in self.weights.items())
