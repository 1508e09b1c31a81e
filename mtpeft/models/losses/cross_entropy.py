"""Cross-entropy of class maps."""

import torch.nn.functional as F
from torch import Tensor

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import global_mean, sum_over_processes
from mtpeft.registry import MODELS

_IGNORE = -100


@MODELS.register_module()
class PixelCrossEntropyLoss(DenseLoss):
    """Cross-entropy a pixel, mean over the valid pixels of the global batch.

    ``L = -1/N sum_i log softmax(z_i)[y_i]``, logits ``(B, C, H, W)``, class indices
    ``(B, 1, H, W)``.

    Example:
        >>> import torch
        >>> loss = PixelCrossEntropyLoss()
        >>> valid = torch.ones(1, 2, 2, dtype=torch.bool)
        >>> loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 2, 2).long(), valid)
        tensor(1.3863)
    """

    same_channels = False

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        classes = target[:, 0].long().masked_fill(~valid, _IGNORE)
        # reduced by hand: CUDA's own reduction of this loss is not deterministic
        pixels = F.cross_entropy(logits, classes, ignore_index=_IGNORE, reduction='none')
        return global_mean(pixels.sum(), sum_over_processes(valid.sum()))
