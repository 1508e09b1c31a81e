"""Weights that are drawn for every step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.weights import StepWeighting
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import NotNegative


@MODELS.register_module(name=['RandomLossWeighting', 'RLW'])
class RandomLossWeighting(StepWeighting):
    r"""Weights drawn anew for every step, T softmax(z) with z ~ N(0, 1) (RLW, arXiv 2111.10603).

    They are a function of ``seed`` and the step, so all processes have the same, and a resumed run
    goes on with those that it would have had.

    Args:
        tasks: The model's tasks; their losses keep their ``loss_weight`` too.
        seed: Which sequence.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Example:
        >>> weighting = RandomLossWeighting(['sal', 'depth'], weights=dict(sal=1))
        >>> out = weighting(dict(sal=torch.tensor(1.0), depth=torch.tensor(1.0)))
        >>> round(sum(x.item() for x in out.values()), 5)
        2.0
    """

    def __init__(
        self,
        tasks: TaskSpec,
        seed: int = 0,
        weights: Mapping[str, NotNegative] | None = None,
    ) -> None:
        super().__init__(tasks, weights)
        self.seed = seed
        self.register_buffer('step', torch.zeros((), dtype=torch.long))

    def factors(self, values: Tensor) -> Tensor:
        if not self.training:
            return torch.ones_like(values)
        # (an odd multiplier keeps sequences of neighbouring seeds apart)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.step))
        self.step += 1
        drawn = torch.randn(len(values), generator=generator)
        return (len(values) * drawn.softmax(0)).to(values.device)
