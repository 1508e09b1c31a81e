"""Binary cross-entropy with balanced classes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import global_mean, sum_over_processes
from mtpeft.registry import MODELS
from mtpeft.utils.kinds import Share


@MODELS.register_module()
class BalancedBCELoss(DenseLoss):
    """Binary cross-entropy whose rare class counts more, mean over the valid pixels.

    ``L = 1/N sum_i [ w y_i softplus(-z_i) + (1 - w) (1 - y_i) softplus(z_i) ]``

    where the positive weight ``w`` is fixed or the share of negatives among the valid pixels of
    the global batch (Xie and Tu, arXiv 1504.06375), over all processes.

    Args:
        positive_weight: ``w`` between 0 and 1. Default: the share of negatives.

    Raises:
        ValueError: ``positive_weight`` is not between 0 and 1.

    Example:
        >>> import torch
        >>> label = torch.tensor([[[[1, 0, 0, 0]]]])
        >>> valid = torch.ones(1, 1, 4, dtype=torch.bool)
        >>> BalancedBCELoss()(torch.zeros(1, 1, 1, 4), label, valid)  # 2 * .75 * .25 * log 2
        tensor(0.2599)
    """

    def __init__(self, positive_weight: Share | None = None) -> None:
        super().__init__()
        if positive_weight is not None and not 0 < positive_weight < 1:
            raise ValueError(
                'Expected positive_weight to be between 0 and 1 (the negatives get 1 - '
                f'positive_weight), got {positive_weight}.'
            )
        self.positive_weight = positive_weight

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        mask = valid.unsqueeze(1).expand_as(target)
        label = target.masked_fill(~mask, 0).to(logits.dtype)
        counts = sum_over_processes(torch.stack([mask.sum(), (mask & (target < 0.5)).sum()]))
        total, negatives = counts
        weight = self.positive_weight
        if weight is None:
            weight = negatives / torch.clamp(total, min=1)
        pixels = weight * label * F.softplus(-logits) + (1 - weight) * (1 - label) * F.softplus(
            logits
        )
        return global_mean(pixels.masked_fill(~mask, 0).sum(), total)
