"""Weightings of gradients, not of losses."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.fixed import FixedWeighting


class GradientWeighting(FixedWeighting):
    """Base: each task's gradient is taken by itself, and a subclass makes one of them.

    The parameters that several tasks share get what :meth:`combine` makes of their gradients; what
    belongs to one task gets that task's. :class:`~mtpeft.optim.TaskGradients` does both, which
    ``build_runner`` puts in; in a loop of your own, ``TaskGradients(wrapper, model).install()``.
    """

    #: set by what takes the gradients apart
    installed = False

    def combine(self, jacobian: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """One gradient of those of all tasks.

        Args:
            jacobian: ``(T, n)``: a row is the gradient of a task's weighted loss with respect to
                all shared parameters, over all processes and accumulated batches.
            values: The weighted losses ``(T,)``.

        Returns:
            The gradient ``(n,)``, and a factor for the gradients of each task's own parameters
            ``(T,)``.
        """
        raise NotImplementedError

    def forward(
        self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses; their sum is what is logged, not what is minimised.

        Raises:
            RuntimeError: nobody takes the gradients apart.
        """
        if self.training and torch.is_grad_enabled() and not self.installed:
            raise RuntimeError(
                f'{type(self).__name__} combines the gradients of tasks, and here only their sum '
                'would be taken. Train with mtpeft.apis.build_runner (tools/train.py), or call '
                'mtpeft.optim.TaskGradients(optim_wrapper, model).install() before training.'
            )
        return super().forward(losses)
