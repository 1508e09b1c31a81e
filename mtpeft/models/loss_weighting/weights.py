"""What weightings have in common whose weights are numbers of their own, by step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.fixed import FixedWeighting


class StepWeighting(FixedWeighting):
    """Base: the tasks' losses, weighted as they always are, times a number that changes by step.

    A subclass defines :meth:`factors`.
    """

    def factors(self, values: Tensor) -> Tensor:
        """A factor a task ``(T,)``, without a gradient.

        Args:
            values: Weighted losses over all processes ``(T,)``, 0 where nobody has a label.
        """
        raise NotImplementedError

    def forward(
        self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Weighted losses, to be summed.

        Args:
            losses: This process's share of each task's loss, in the graph.
            values: The losses averaged over all processes, detached. Default: ``losses``.
        """
        weighted = super().forward(losses)
        values = super().forward(losses if values is None else values)
        with torch.no_grad():
            known = torch.stack([value.detach().float() for value in values.values()])
            factors = self.factors(known)
        pairs = zip(weighted.items(), factors, strict=True)
        return {name: factor * loss for (name, loss), factor in pairs}
