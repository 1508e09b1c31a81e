"""DoRA: weight-decomposed low-rank adaptation (arXiv 2402.09353), with task lanes as in FAAR."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.lora import LoRA
from mtpeft.ops.plain import plain_ops
from mtpeft.registry import ADAPTERS

# Numbers in W0 (times the lanes) from which on the norm is cheaper without B A in full; measured by
# docs/measure_dora_norm.py.
_LARGE = 2**18


@ADAPTERS.register_module()
class DoRA(LoRA):
    r"""Magnitude and direction of a weight apart, the direction changed at low rank.

    .. math:: W' = m \odot \frac{W_0 + s B A}{\lVert W_0 + s B A \rVert_\text{row}}, \qquad
              y = W' x + b

    (arXiv 2402.09353, equation 5; in FAAR, arXiv 2603.20403, also with m, A, B for each task, whose
    lane passes its own input: :math:`y_t = W'_t x_t + b`.) The norm is of each output row (output
    channel), m a vector ``(out,)`` that starts at the norms of the loaded W0, so the start is the
    pretrained layer. The bias is not scaled. By default the norm is a constant in the gradient
    (section 4.3).

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        detach_norm: Treat the norm as a constant in the gradient.
        **kwargs: ``rank``, ``task_rank``, ``scale``, ``dropout`` (of the shared path) and
            ``frozen_input`` of :class:`~mtpeft.adapters.lora.LoRA`. With dropout, W' x is
            ``m / norm (W0 x + s B A drop(x))``.

    Raises:
        ValueError: as :class:`~mtpeft.adapters.lora.LoRA`.

    Example:
        >>> adapter = DoRA(nn.Linear(8, 4), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.magnitude.shape, adapter.task_magnitude.shape
        (torch.Size([4]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        detach_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, tasks, **kwargs)
        self.detach_norm = detach_norm
        self.reset_from_weight(layer)

    def _make_shared(self, layer: nn.Module) -> None:
        super()._make_shared(layer)
        self.magnitude = nn.Parameter(layer.weight.new_empty(layer.weight.shape[0]))
        self.shared_parameters['magnitude_shared'] = ['magnitude']

    def _make_lanes(self, layer: nn.Module) -> None:
        super()._make_lanes(layer)
        shape = len(self.tasks), layer.weight.shape[0]
        self.task_magnitude = nn.Parameter(layer.weight.new_empty(shape))
        self.task_parameters['magnitude_task'] = ['task_magnitude']

    @torch.no_grad()
    def reset_from_weight(self, layer: nn.Module) -> None:
        """Let the magnitudes be the norms of the rows of the layer's weight."""
        norms = layer.weight.flatten(1).square().sum(-1).sqrt()
        if self.shared_parameters:
            self.magnitude.copy_(norms)
        if self.tasks:
            self.task_magnitude.copy_(norms.expand_as(self.task_magnitude))

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        lanes = super().lane_tensors(layer)
        a, b = lanes.values()
        return {**lanes, 'gain': self._gain(layer, a, b, self.task_magnitude)}

    def _shared_terms(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
        a, b, _ = super()._shared_terms(layer)
        return a, b, self._gain(layer, a, b, self.magnitude)

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        direction = layer.weight + super().delta_weight(layer, task)
        magnitude = (
            self.magnitude if task is None else self.task_magnitude[self.task_index(task)]
        )  # fmt: skip
        gain = self._gain(layer, *self.factors(task), magnitude)
        return gain.view(-1, *[1] * (direction.ndim - 1)) * direction - layer.weight

    def _gain(self, layer: nn.Module, a: Tensor, b: Tensor, magnitude: Tensor) -> Tensor:
        """``m / ||W0 + s B A||`` ``(out,)``; ``(T, out)`` of stacked factors."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach_norm):
            norms = row_norms(layer.weight, a, b, self.scale)
        return magnitude / norms.clamp_min(torch.finfo(norms.dtype).tiny)


def row_norms(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    r"""Norms of the rows of ``W0 + s B A``, in float32 at least.

    Where W0 is large, from small products:
    :math:`\lVert w_0 \rVert^2 + 2 s\, b A w_0 + s^2\, b A A^T b` for each row.

    Args:
        weight: W0 ``(out, in)`` or ``(out, in, k, k)``.
        a: A ``(r, in[, k, k])``, or ``(T, r, in[, k, k])``.
        b: B ``(out, r)``, or ``(T, out, r)``.
        scale: s.

    Returns:
        ``(out,)``, or ``(T, out)``.
    """
    with torch.autocast(weight.device.type, enabled=False):
        a = a.flatten(b.ndim - 1)
        weight, a, b = (_at_least_float32(x) for x in (weight.flatten(1), a, b))
        if weight.numel() * a.shape[:-2].numel() < _LARGE or plain_ops():
            return (weight + scale * (b @ a)).square().sum(-1).sqrt()
        products = (a.flatten(0, -2) @ weight.mT).view(*a.shape[:-1], -1).mT
        change = 2 * scale * products + scale**2 * (b @ (a @ a.mT))
        squared = weight.square().sum(-1) + (change * b).sum(-1)
        # rounding may leave a vanishing row below 0
        return squared.clamp_min(0).sqrt()


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
