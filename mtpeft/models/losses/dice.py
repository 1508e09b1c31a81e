"""Dice loss of class maps and of binary maps."""

import torch
import torch.nn.functional as F
from mmengine import dist
from torch import Tensor

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import sum_over_processes
from mtpeft.registry import MODELS
from mtpeft.utils.kinds import Positive


@MODELS.register_module()
class DiceLoss(DenseLoss):
    """One minus the Dice coefficient, mean over the classes (V-Net, arXiv 1606.04797).

    ``L = 1 - 1/C sum_c (2 sum_i p_ic y_ic + e) / (sum_i p_ic^2 + sum_i y_ic + e)``

    Sums are over the valid pixels of the global batch, ``p`` is the softmax of the logits
    ``(B, C, H, W)``, with one channel their sigmoid, and ``y`` 1 for the label's class.

    Args:
        smooth: ``e``. A class that neither occurs nor is predicted has no loss.

    Raises:
        ValueError: ``smooth`` is not above 0.

    Example:
        >>> label = torch.tensor([[[[0, 1]]]])
        >>> logits = torch.tensor([[[[9.0, 0.0]], [[0.0, 9.0]]]])
        >>> DiceLoss()(logits, label, torch.ones(1, 1, 2, dtype=torch.bool)) < 1e-3
        tensor(True)
    """

    same_channels = False

    def __init__(self, smooth: Positive = 1.0) -> None:
        super().__init__()
        if smooth <= 0:
            raise ValueError(f'Expected smooth to be above 0, got {smooth}.')
        self.smooth = smooth

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        channels = logits.shape[1]
        label = target[:, 0].masked_fill(~valid, 0).long()
        if channels == 1:
            chances, truth = logits.sigmoid(), label.unsqueeze(1)
        else:
            chances = logits.softmax(1)
            truth = F.one_hot(label, channels).movedim(-1, 1)
        mask = valid.unsqueeze(1)
        chances, truth = chances * mask, truth.to(logits.dtype) * mask
        own = torch.stack([(chances * truth).sum((0, 2, 3)), chances.square().sum((0, 2, 3)),
                           truth.sum((0, 2, 3))])  # fmt: skip
        # the sums of all processes, with the gradient of this one's
        common, predicted, labelled = own + (sum_over_processes(own) - own.detach())
        smooth = self.smooth
        loss = 1 - ((2 * common + smooth) / (predicted + labelled + smooth)).mean()
        some = sum_over_processes(valid.sum()) > 0
        loss = loss.where(some, 0 * loss)
        # DistributedDataParallel takes the mean of gradients whose sum is that of this loss
        return loss.detach() + dist.get_world_size() * (loss - loss.detach())
