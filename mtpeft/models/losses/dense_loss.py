"""What the losses of dense tasks have in common."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class DenseLoss(nn.Module, ABC):
    """Mean of a per-pixel loss over the valid pixels of the global batch.

    A subclass writes :meth:`compute`. The computation is in float32 (or wider) under autocast too.

    Every process must call a loss equally often, since the number of valid pixels is summed over
    processes. Without any valid pixel the loss is 0 and still connected to the graph.
    """

    #: Whether the label has as many channels as the logits, rather than one class index.
    same_channels = True

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Scalar loss.

        Args:
            logits: ``(B, C, H, W)``.
            target: Labels ``(B, c, H, W)``; what invalid pixels hold does not matter.
            valid: Boolean mask ``(B, H, W)``.

        Raises:
            ValueError: the shapes do not fit each other.
        """
        self._check(logits, target, valid)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            return self.compute(logits, target, valid)

    @abstractmethod
    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """The loss of checked float inputs, see :meth:`forward`."""

    def _check(self, logits: Tensor, target: Tensor, valid: Tensor) -> None:
        batch, channels, height, width = logits.shape
        label = (batch, channels if self.same_channels else 1, height, width)
        if tuple(target.shape) != label or tuple(valid.shape) != (batch, height, width):
            raise ValueError(
                f'{type(self).__name__}: logits {tuple(logits.shape)} need a label {label} and a '
                f'mask {(batch, height, width)}, got {tuple(target.shape)} and '
                f'{tuple(valid.shape)}.'
            )
