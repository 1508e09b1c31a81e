"""Weights by how fast each task's loss falls."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.weights import StepWeighting
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import NotNegative, Positive, Size


@MODELS.register_module(name=['DynamicWeightAverage', 'DWA'])
class DynamicWeightAverage(StepWeighting):
    r"""A task whose loss falls slower than the others' counts more (Liu et al., arXiv 1803.10704).

    .. math::
        w_t = T\, \mathrm{softmax}_t\Big(\frac{r_t}{\tau}\Big), \qquad
        r_t = \frac{\bar L_t(k - 1)}{\bar L_t(k - 2)}

    with the mean losses of the two periods before; w = 1 until there are two. In the paper a period
    is an epoch. It is a number of steps here, so that a run by iterations has it too. What was
    seen is in the state dict, so a resumed run goes on with the same weights.

    Args:
        tasks: The model's tasks; their losses keep their ``loss_weight`` too.
        temperature: tau; the larger, the more even the weights.
        period: Steps of a period; 100 is an epoch of the scenes.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Example:
        >>> weighting = DynamicWeightAverage(['sal', 'depth'], period=1, weights=dict(sal=1))
        >>> for sal in (4.0, 2.0, 2.0):  # it falls, and depth does not
        ...     out = weighting(dict(sal=torch.tensor(sal), depth=torch.tensor(2.0)))
        >>> [round(out[name].item(), 3) for name in out]  # 2 softmax((.5, 1) / 2) times 2
        [1.751, 2.249]
    """

    def __init__(
        self,
        tasks: TaskSpec,
        temperature: Positive = 2.0,
        period: Size = 100,
        weights: Mapping[str, NotNegative] | None = None,
    ) -> None:
        super().__init__(tasks, weights)
        if not (temperature > 0 and period > 0):
            raise ValueError(
                'Expected temperature and period to be positive, got '
                f'temperature={temperature}, period={period}.'
            )
        self.temperature, self.period = temperature, period
        count = len(self.weights)
        # sums of losses, and pictures of them: of this period, of the one before, and of that one's
        self.register_buffer('sums', torch.zeros(3, count, dtype=torch.float64))
        self.register_buffer('counts', torch.zeros(3, count, dtype=torch.float64))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))

    def factors(self, values: Tensor) -> Tensor:
        if not self.training:
            return self._factors()
        if self.step > 0 and self.step % self.period == 0:
            for buffer in (self.sums, self.counts):
                buffer.copy_(buffer.roll(1, 0))
                buffer[0] = 0
        self.sums[0] += values
        self.counts[0] += values != 0
        self.step += 1
        return self._factors()

    def _factors(self) -> Tensor:
        last, before = self.sums[1:] / self.counts[1:].clamp_min(1)
        # a task without a label in one of both has no rate: as if it stood still
        known = (self.counts[1:] > 0).all(0) & (before != 0)
        if self.step <= 2 * self.period:
            return torch.ones_like(last).float()
        rates = torch.where(known, last / torch.where(known, before, 1), 1)
        return (len(rates) * (rates / self.temperature).softmax(0)).float()

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, temperature={self.temperature}, period={self.period}'
