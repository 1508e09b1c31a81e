"""The geometric mean of the losses."""

import torch
from torch import Tensor

from mtpeft.models.loss_weighting.weights import StepWeighting
from mtpeft.registry import MODELS


@MODELS.register_module()
class GeometricLoss(StepWeighting):
    r"""The geometric mean of the losses (Chennupati et al., arXiv 1904.08492).

    .. math:: L = \Big(\prod_t L_t\Big)^{1 / T}

    whose gradient is that of :math:`\sum_t w_t L_t` with :math:`w_t = L / (T L_t)` held fixed: no
    loss counts more for being larger. Tasks without a label in the batch are no factor. Constant
    weights change the value, not the minimum.

    Args:
        tasks: The model's tasks.
        weights: Constant weights by task, see :class:`~mtpeft.models.FixedWeighting`.

    Raises:
        FloatingPointError: a loss is negative.

    Example:
        >>> weighting = GeometricLoss(['sal', 'depth'], weights=dict(sal=1))
        >>> out = weighting(dict(sal=torch.tensor(2.0), depth=torch.tensor(8.0)))
        >>> sum(out.values()).item()
        4.0
    """

    def factors(self, values: Tensor) -> Tensor:
        if (values < 0).any():
            raise FloatingPointError(
                f'GeometricLoss takes losses of at least 0, got {values.tolist()} of '
                f'{", ".join(self.weights)}.'
            )
        known = values > 0
        inverse = torch.where(known, values, 1).reciprocal() * known
        number = known.sum().clamp_min(1)
        mean = (torch.where(known, values, 1).log().sum() / number).exp()
        return mean * inverse / number
