"""Sine-LoRA: the sine of a low-rank product (arXiv 2403.19243)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import matrix_shape
from mtpeft.adapters.formed_once import FormedOnce
from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.ranks.low_rank import SHARED, all_components
from mtpeft.ops.linear_formed_again import forms_again
from mtpeft.ops.modulation import modulate
from mtpeft.registry import ADAPTERS


@ADAPTERS.register_module()
class SineLoRA(FormedOnce, LoRA):
    r"""LoRA whose product passes a sine of one fixed frequency, which raises its rank.

    .. math:: y = W_0 x + b + g \sin(\omega B A)\, \mathrm{drop}(x), \qquad
              y_t = W_0 x_t + b + g \sin(\omega B_t A_t)\, x_t

    (arXiv 2403.19243, which divides by a number that is 1 / g here.) A and B are as in
    :class:`~mtpeft.adapters.lora.LoRA`, B starts at 0, so the start is the pretrained layer. The
    number of parameters is LoRA's. The weights are full matrices ``(out, in[, k, k])``, made once a
    pass for the shared path and for all lanes together, and kept between passes while nothing is
    trained (evaluation mode, no gradients). In training those of a Linear layer's lanes are made
    when they are passed, and again in the backward pass: none is kept.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        omega: :math:`\omega`. The sine leaves its linear regime where the standard deviation of
            omega B A is about .5.
        gain: g. Default: 1 / sqrt(inputs of one output).
        **kwargs: ``rank``, ``task_rank``, ``dropout`` (of the shared path) and ``frozen_input`` of
            :class:`~mtpeft.adapters.lora.LoRA`. There is no ``scale``: g takes its place.

    Raises:
        ValueError: ``omega`` or ``gain`` is not positive, a ``scale`` is given, or as
            :class:`~mtpeft.adapters.lora.LoRA`.

    Example:
        >>> adapter = SineLoRA(nn.Linear(8, 4), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.A.shape, adapter.task_kernels().shape
        (torch.Size([2, 8]), torch.Size([2, 4, 8]))
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        omega: float = 100.0,
        gain: float | None = None,
        **kwargs: Any,
    ) -> None:
        if 'scale' in kwargs:
            raise ValueError('Sine-LoRA has no scale, since a sine is not linear: set gain instead')
        gain = matrix_shape(layer)[1] ** -0.5 if gain is None else gain
        for name, value in (('omega', omega), ('gain', gain)):
            if not value > 0:
                raise ValueError(f'expected {name} to be positive, got {value!r}')
        self.omega = float(omega)
        self.gain = float(gain)
        super().__init__(layer, tasks, scale=1.0, **kwargs)

    def make_group(self, kind: str, factors: dict[str, int], product: bool = False) -> None:
        # a sine of B A in another basis is the same, but not that of its first components
        super().make_group(kind, factors, product=False)

    # -- weights -------------------------------------------------------------------------------

    def _kernels(self, kind: str, weight: Tensor | None = None) -> Tensor:
        a, b = self.groups[kind].effective().values()
        if kind == SHARED:
            a, b = a[None], b[None]
        return self._modulated(a, b, weight)

    def _modulated(self, a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
        # the product meets a large frequency: bfloat16 would be coarse
        with torch.autocast(a.device.type, enabled=False):
            product = (b @ a.flatten(2)).unflatten(2, a.shape[2:])
            omega = product.new_full((len(product),), self.omega)
        return modulate(product, omega, self.gain, lowpass=False, weight=weight)

    def shared_kernel(self) -> Tensor:
        """What the shared path adds to the frozen weight, ``(out, in[, k, k])``."""
        return self._kernels(SHARED)[0]

    def task_kernels(self) -> Tensor:
        """What each lane adds to the frozen weight, ``(T, out, in[, k, k])``."""
        return self._kernels('task')

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        # in training a lane's weight is formed where it is passed, and again in the backward pass
        if forms_again():
            return super().lane_tensors(layer)
        whole = not self.coupling.reads
        return {'weight': self._formed_of('task', layer if whole else None)}

    def _formed_of(self, kind: str, layer: nn.Module | None = None) -> Tensor:
        """What is added to the frozen weight, or, with ``layer``, the whole weight."""
        group = self.groups[kind]
        weight = [] if layer is None else [layer.weight]

        def make() -> Tensor:
            kernels = self._kernels(kind, *weight)
            return kernels[0] if kind == SHARED else kernels

        return self.formed([*group.parameters.values(), *weight], make, tuple(group.active), kind)

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is not None:
            super().delta_weight(layer, task)  # refuses a lane that is no weight
        with all_components(self):
            if task is None:
                return self.shared_kernel()
            return self.task_kernels()[self.task_index(task)]

    def task_weights(self, layer: nn.Module) -> Tensor:
        super().delta_weight(layer, self.tasks[0])  # refuses lanes that are no weights
        # one pass makes the kernels of all lanes
        with all_components(self):
            return layer.weight + self.task_kernels()

    def stream_weight(self, layer: nn.Module) -> Tensor | None:
        return None if self._drops else self._formed_of(SHARED, layer)

    # -- streams -------------------------------------------------------------------------------

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self._drops and not self.coupling.reads:
            return layer.convolve(x, self.stream_weight(layer), layer.bias), None
        frozen = layer.frozen(x)
        kernel = self._formed_of(SHARED)
        out = frozen + layer.convolve(self.dropout(x), kernel)
        return out, frozen if self.coupling.reads else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        bias = layer.bias if memory is None else None
        if 'weight' in params:
            out = layer.convolve(x, params['weight'], bias)
        else:
            sources = [params['task_A'], params['task_B'], *([layer.weight] * (memory is None))]
            out = layer.convolve_formed(x, self._lane_weights, sources, bias)
        return out if memory is None else memory + out

    def _lane_weights(self, a: Tensor, b: Tensor, *frozen: Tensor) -> Tensor:
        return self._modulated(a, b, *(weight[0] for weight in frozen))

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, omega={self.omega:g}, gain={self.gain:.3g}'
