"""Holds magnitudes of DoRA near those of the pretrained weights, as FAAR's released code does."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mtpeft.adapters import Adapter
from mtpeft.hooks.added_loss import add_to_loss
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import NotNegative


@HOOKS.register_module()
class MagnitudePenaltyHook(Hook):
    r"""Adds to the loss how far DoRA's magnitudes are from the norms of the pretrained rows.

    .. math:: \lambda \sum_l \operatorname{mean}_o \Big(\frac{m_{l, o}}{|W_{0, l, o}|} - 1\Big)^2

    over the shared paths of all layers l with :class:`~mtpeft.adapters.DoRA` and their rows o, as
    the code released with FAAR (arXiv 2603.20403) does; the paper has no such term. It is for any
    model that is trained by one ``optim_wrapper``, and is logged as ``train/magnitude_penalty``.
    Magnitudes of lanes have no penalty there, and none here.

    Args:
        weight: The coefficient lambda; the released code has 1e-4.

    Raises:
        ValueError: ``weight`` is negative, or the model has no DoRA.

    Example:
        >>> MagnitudePenaltyHook(weight=1e-4).weight
        0.0001
    """

    def __init__(self, weight: NotNegative = 1e-4) -> None:
        if not weight >= 0:
            raise ValueError(f'Expected weight to be at least 0, got {weight!r}.')
        self.weight = weight
        self.layers: list[nn.Module] = []
        self._last: Tensor | None = None

    def before_train(self, runner: Runner) -> None:
        self.layers = layers_with_magnitudes(unwrap(runner.model))
        if not self.layers:
            raise ValueError(
                f'{type(self).__name__} holds magnitudes of DoRA, and the model has none. Leave '
                "the hook out, or set type='DoRA' in the plugins."
            )
        if self.weight:
            add_to_loss(runner.optim_wrapper, self._term)

    def _term(self) -> Tensor:
        penalty = magnitude_penalty(self.layers)
        self._last = penalty.detach()
        return self.weight * penalty

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if self._last is not None:
            runner.message_hub.update_scalar('train/magnitude_penalty', self._last)


def layers_with_magnitudes(model: nn.Module) -> list[nn.Module]:
    """Layers of ``model`` whose adapter has magnitudes of a shared path, as DoRA's has."""
    adapters = ((m, getattr(m, 'adapter', None)) for m in model.modules())
    adapted = ((m, a) for m, a in adapters if isinstance(a, Adapter) and a.shared_parameters)
    return [m for m, adapter in adapted if hasattr(adapter, 'magnitudes')]


def magnitude_penalty(layers: list[nn.Module]) -> Tensor:
    r"""Sum over ``layers`` of the mean of :math:`(m / |W_0| - 1)^2` over their rows."""
    terms = []
    for layer in layers:
        norms = torch.linalg.vector_norm(layer.weight.detach().flatten(1), dim=1)
        magnitudes = layer.adapter.magnitudes(layer)
        ratio = magnitudes / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        # a row of zeros has no share that it could grow by
        terms.append(torch.where(norms > 0, ratio - 1, 0).square().mean())
    return torch.stack([term.float() for term in terms]).sum()
