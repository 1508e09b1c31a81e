"""Cross-entropy of class maps."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import global_mean, sum_over_processes
from mtpeft.registry import MODELS
from mtpeft.utils.kinds import NotNegative, Share

_IGNORE = -100


@MODELS.register_module()
class PixelCrossEntropyLoss(DenseLoss):
    """Cross-entropy a pixel, mean over the valid pixels of the global batch.

    ``L = -1/N sum_i log softmax(z_i)[y_i]``, logits ``(B, C, H, W)``, class indices
    ``(B, 1, H, W)``. With weights ``w`` of the classes and smoothing ``s``, as in torch,

    ``L = 1/sum_i w[y_i] sum_i -((1 - s) w[y_i] log p_i[y_i] + s/C sum_c w[c] log p_i[c])``.

    Args:
        class_weight: A weight for each class. Default: 1.
        label_smoothing: The share of the label that goes to all classes alike.

    Raises:
        ValueError: a weight is negative, or none is above 0; ``label_smoothing`` is not between 0
            and 1. (The number of weights is compared with the task's classes when a model is
            built.)

    Example:
        >>> import torch
        >>> loss = PixelCrossEntropyLoss()
        >>> valid = torch.ones(1, 2, 2, dtype=torch.bool)
        >>> loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 2, 2).long(), valid)
        tensor(1.3863)
    """

    same_channels = False

    def __init__(
        self, class_weight: Sequence[NotNegative] | None = None, label_smoothing: Share = 0.0
    ) -> None:
        super().__init__()
        self.class_weight = None if class_weight is None else [float(w) for w in class_weight]
        if class_weight is not None and (min(class_weight) < 0 or not sum(class_weight)):
            raise ValueError(
                f'Expected class_weight of at least 0, one of them above, got {list(class_weight)}.'
            )
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f'Expected label_smoothing to be between 0 and 1, got {label_smoothing}.'
            )
        self.label_smoothing = label_smoothing

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        classes = target[:, 0].long().masked_fill(~valid, _IGNORE)
        weight = None if self.class_weight is None else logits.new_tensor(self.class_weight)
        # reduced by hand: CUDA's own reduction of this loss is not deterministic
        pixels = F.cross_entropy(
            logits, classes, weight, ignore_index=_IGNORE, reduction='none',
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
        total = valid.sum() if weight is None else self._weights(weight, classes, valid)
        return global_mean(pixels.sum(), sum_over_processes(total))

    @staticmethod
    def _weights(weight: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
        # by the number of each class: a gather of every pixel's weight would be as large as the map
        numbers = torch.bincount(classes[valid], minlength=len(weight))
        return (numbers * weight).sum()
