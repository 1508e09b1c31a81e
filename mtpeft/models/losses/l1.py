"""L1 losses of depth and surface normals."""

from torch import Tensor

from mtpeft.models.losses.dense_loss import DenseLoss
from mtpeft.models.losses.reduce import global_mean, sum_over_processes
from mtpeft.registry import MODELS
from mtpeft.utils.unit_vectors import unit_vectors


@MODELS.register_module()
class MaskedL1Loss(DenseLoss):
    """Absolute difference, mean over the elements of the valid pixels of the global batch.

    ``L = 1/(N C) sum_i |z_i - y_i|``, in the label's unit (metres for depth).

    Example:
        >>> import torch
        >>> depth = torch.tensor([[[[2.0, 0.0]]]])  # 0: no measurement
        >>> MaskedL1Loss()(torch.full((1, 1, 1, 2), 5.0), depth, depth[:, 0] > 0)
        tensor(3.)
    """

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return _masked_l1(logits, self._clean(target, valid), valid)

    @staticmethod
    def _clean(target: Tensor, valid: Tensor) -> Tensor:
        # before any arithmetic: a gradient must not rest on how sgn(NaN) is defined
        return target.masked_fill(~valid.unsqueeze(1), 0)


@MODELS.register_module()
class NormalsL1Loss(MaskedL1Loss):
    """L1 between unit vectors, mean over the elements of the valid pixels of the global batch.

    ``L = 1/(3 N) sum_i || z_i/|z_i| - y_i/|y_i| ||_1``: prediction and label are both brought to
    length 1, a prediction of length 0 stays 0.

    Example:
        >>> import torch
        >>> label = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
        >>> valid = torch.ones(1, 1, 1, dtype=torch.bool)
        >>> NormalsL1Loss()(5 * label, label, valid)
        tensor(0.)
    """

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        label = unit_vectors(self._clean(target, valid).to(logits.dtype))
        return _masked_l1(unit_vectors(logits), label, valid)


def _masked_l1(prediction: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    mask = valid.unsqueeze(1).expand_as(prediction)
    difference = (prediction - label).abs().masked_fill(~mask, 0)
    return global_mean(difference.sum(), sum_over_processes(mask.sum()))
