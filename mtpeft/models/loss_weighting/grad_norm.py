"""Weights that even out the norms of gradients."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.gradient_weighting import GradientWeighting
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec
from mtpeft.utils.kinds import NotNegative, Positive

_BETAS, _EPS, _LEAST = (0.9, 0.999), 1e-8, 1e-3


@MODELS.register_module()
class GradNorm(GradientWeighting):
    r"""Weights under which slow tasks have the larger gradients (Chen et al., arXiv 1711.02257).

    With n_t the norm of the gradient of L_t on the shared parameters, and
    :math:`r_t = \tilde L_t / \mathrm{mean}_s \tilde L_s` of
    :math:`\tilde L_t = L_t / L_t(0)`, the weights w descend

    .. math::
        \sum_t \Big| w_t n_t - \bar G\, r_t^\alpha \Big|, \qquad
        \bar G = \mathrm{mean}_s\, w_s n_s

    where the second term is held fixed, by steps of Adam, and are brought to a sum of T. The first
    step has w = 1. In the paper the shared parameters are the last shared layer; here they are all
    that several tasks train. Weights, moments and first losses are in the state dict.

    Args:
        tasks: The model's tasks; L_t is the loss times ``loss_weight``.
        alpha: How strongly tasks are brought to one pace; 0 makes all norms equal.
        lr: Rate of the weights; .025 in the paper.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Example:
        >>> weighting = GradNorm(['sal', 'depth'])
        >>> _ = weighting.combine(torch.tensor([[3.0, 0], [0, 1]]), torch.ones(2))
        >>> weighting.factors  # the larger gradient counts less in the next step
        tensor([0.9750, 1.0250])
    """

    def __init__(
        self,
        tasks: TaskSpec,
        alpha: NotNegative = 1.5,
        lr: Positive = 0.025,
        weights: Mapping[str, NotNegative] | None = None,
    ) -> None:
        super().__init__(tasks, weights)
        if not (alpha >= 0 and lr > 0):
            raise ValueError(
                f'Expected alpha to be at least 0 and lr positive, got alpha={alpha}, lr={lr}.'
            )
        self.alpha, self.lr = alpha, lr
        count = len(self.weights)
        self.register_buffer('factors', torch.ones(count))
        self.register_buffer('first', torch.zeros(count))
        self.register_buffer('moments', torch.zeros(2, count))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def combine(self, jacobian: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        factors = self.factors.clone()
        gradient = self.gradient(jacobian, values)
        self.step += 1
        self.moments.mul_(self.moments.new_tensor(_BETAS)[:, None])
        self.moments[0] += (1 - _BETAS[0]) * gradient
        self.moments[1] += (1 - _BETAS[1]) * gradient.square()
        mean, square = (
            moment / (1 - beta ** int(self.step))
            for moment, beta in zip(self.moments, _BETAS, strict=True)
        )
        self.factors.sub_(self.lr * mean / (square.sqrt() + _EPS)).clamp_(min=_LEAST)
        self.factors.mul_(len(factors) / self.factors.sum())
        return factors.to(jacobian) @ jacobian, factors

    def gradient(self, jacobian: Tensor, values: Tensor) -> Tensor:
        """Of the sum above with respect to w, ``(T,)``; 0 for a task without a label."""
        known = values != 0
        self.first.copy_(torch.where((self.first == 0) & known, values, self.first))
        norms = jacobian.norm(dim=1).to(self.factors)
        pace = torch.where(known, values / torch.where(self.first == 0, 1, self.first), 0)
        number = known.sum().clamp_min(1)
        pace = pace / (pace.sum() / number).clamp_min(_EPS)
        current = self.factors * norms
        target = current.sum() / number * pace.clamp_min(0) ** self.alpha
        return (current - target).sign() * norms * known
