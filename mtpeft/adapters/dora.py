"""DoRA: weight-decomposed low-rank adaptation (arXiv 2402.09353), with task lanes as in FAAR."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.lora import LoRA
from mtpeft.ops.plain import plain_ops
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Positive
from mtpeft.utils.suggest import hint

# Numbers in W0 (times the lanes) from which on the norm is cheaper without B A in full; measured by
# docs/measure_dora_norm.py.
_LARGE = 2**18
_DIRECTIONS = ('weight', 'rows')


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

    The code that was released with FAAR has other choices, each an option here:
    ``direction='rows'``, ``magnitude_rate=0.1``, ``detach_norm=False``, ``residual=True``.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        detach_norm: Treat the norm as a constant in the gradient.
        direction: What s B A is added to: ``'weight'``, W0 itself, or ``'rows'``, the rows of W0 at
            length 1. A change of the same size then turns every row by the same angle, however long
            the row is.
        magnitude_rate: ``None``: m is trained itself. A number c: m = \|W0\| exp(c theta), with
            theta trained from 0. So m stays positive, and a step changes it by a share of its size.
            :class:`~mtpeft.hooks.MagnitudePenaltyHook` holds such an m near \|W0\|.
        residual: Only the change of the weight sees dropout and a lane's own input; the shared
            stream's input x passes W0 for all: ``y = W0 x + b + (W' - W0) drop(x)`` and
            ``y_t = W0 x + b + (W'_t - W0) x_t``. Such lanes cannot be merged.
        **kwargs: ``rank``, ``task_rank``, ``scale``, ``dropout`` (of the shared path) and
            ``frozen_input`` of :class:`~mtpeft.adapters.lora.LoRA`. With dropout, W' x is
            ``m / norm (W0 x + s B A drop(x))``.

    Raises:
        ValueError: as :class:`~mtpeft.adapters.lora.LoRA`; ``direction`` is unknown,
            ``magnitude_rate`` is not positive, or ``residual`` comes with another ``frozen_input``
            than ``'shared'``.

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
        direction: Literal['weight', 'rows'] = 'weight',
        magnitude_rate: Positive | None = None,
        residual: bool = False,
        **kwargs: Any,
    ) -> None:
        if direction not in _DIRECTIONS:
            raise ValueError(
                f"direction='{direction}' is unknown. " + hint(str(direction), _DIRECTIONS)
            )
        if magnitude_rate is not None and not magnitude_rate > 0:
            raise ValueError(
                f'expected magnitude_rate to be positive, or None for a magnitude that is trained '
                f'itself, got {magnitude_rate!r}'
            )
        if residual and kwargs.setdefault('frozen_input', 'shared') != 'shared':
            raise ValueError(
                "residual=True lets the shared stream's input pass the frozen weight for all "
                f'lanes, but frozen_input is {kwargs["frozen_input"]!r}; leave one of the two out'
            )
        self.direction = direction
        self.magnitude_rate = magnitude_rate
        self.residual = residual
        super().__init__(layer, tasks, **kwargs)
        self.detach_norm = detach_norm
        self.reset_from_weight(layer)

    @property
    def _magnitude(self) -> str:
        return 'magnitude' if self.magnitude_rate is None else 'log_magnitude'

    def _make_shared(self, layer: nn.Module) -> None:
        super()._make_shared(layer)
        self.register_parameter(
            self._magnitude, nn.Parameter(layer.weight.new_empty(layer.weight.shape[0]))
        )
        self.shared_parameters['magnitude_shared'] = [self._magnitude]

    def _make_lanes(self, layer: nn.Module) -> None:
        super()._make_lanes(layer)
        shape = len(self.tasks), layer.weight.shape[0]
        name = f'task_{self._magnitude}'
        self.register_parameter(name, nn.Parameter(layer.weight.new_empty(shape)))
        self.task_parameters['magnitude_task'] = [name]

    @torch.no_grad()
    def reset_from_weight(self, layer: nn.Module) -> None:
        """Let the magnitudes be the norms of the rows of the layer's weight."""
        start = _norms(layer.weight) if self.magnitude_rate is None else torch.zeros(())
        if self.shared_parameters:
            getattr(self, self._magnitude).copy_(start)
        if self.tasks:
            getattr(self, f'task_{self._magnitude}').copy_(start)

    def magnitudes(self, layer: nn.Module, lanes: bool = False) -> Tensor:
        """m of the shared path ``(out,)``, or of all lanes ``(T, out)``."""
        trained = getattr(self, f'task_{self._magnitude}' if lanes else self._magnitude)
        if self.magnitude_rate is None:
            return trained
        return _norms(layer.weight) * (self.magnitude_rate * trained).exp()

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        a, b = super().lane_tensors(layer).values()
        b = self._in_direction(layer, b)
        gain = self._gain(layer, a, b, self.magnitudes(layer, lanes=True))
        return {'task_A': a, 'task_B': b, 'gain': gain}

    def _shared_terms(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
        a, b, _ = super()._shared_terms(layer)
        b = self._in_direction(layer, b)
        return a, b, self._gain(layer, a, b, self.magnitudes(layer))

    def _in_direction(self, layer: nn.Module, b: Tensor) -> Tensor:
        # rows of W0 at length 1, and a change of them, are W0 and |W0| times the change, each
        # divided by |W0|: the same direction
        if self.direction == 'weight':
            return b
        return b * _norms(layer.weight).to(b.dtype)[:, None]

    def _shared(
        self, layer: nn.Module, x: Tensor, a: Tensor, b: Tensor, gain: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if not (self.residual and self._drops):
            return super()._shared(layer, x, a, b, gain)
        frozen = layer.frozen(x)
        out = frozen + layer.convolve(self.dropout(x), self._change(layer, a, b, gain))
        return out, frozen if self.coupling.reads else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        if not self.residual:
            return super().lane(layer, x, params, memory)
        change = self._change(layer, params['task_A'], params['task_B'], params['gain'])
        return memory + layer.convolve(x, change)

    def low_rank_lane(
        self, params: dict[str, Tensor], memory: Tensor
    ) -> tuple[Tensor, Tensor, float, Tensor | None] | None:
        if self.residual:  # the change of the whole weight stands beside W0 x
            return None
        return params['task_A'], params['task_B'], self.scale, params['gain']

    def _change(self, layer: nn.Module, a: Tensor, b: Tensor, gain: Tensor) -> Tensor:
        """``W' - W0``, in the type of W0."""
        weight = layer.weight + self.scale * torch.tensordot(b, a, dims=1)
        change = gain.view(-1, *[1] * (weight.ndim - 1)) * weight - layer.weight
        return change.to(layer.weight.dtype)

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        super().delta_weight(layer, task)  # refuses what cannot be merged
        a, b = self.factors(task)
        b = self._in_direction(layer, b)
        m = self.magnitudes(layer, lanes=task is not None)
        m = m if task is None else m[self.task_index(task)]
        return self._change(layer, a, b, self._gain(layer, a, b, m))

    def _gain(self, layer: nn.Module, a: Tensor, b: Tensor, magnitude: Tensor) -> Tensor:
        """``m / ||W0 + s B A||`` ``(out,)``; ``(T, out)`` of stacked factors."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.detach_norm):
            norms = row_norms(layer.weight, a, b, self.scale)
        return magnitude / norms.clamp_min(torch.finfo(norms.dtype).tiny)


def _norms(weight: Tensor) -> Tensor:
    """Norms of the rows of a weight ``(out, ...)``, ``(out,)``, in float32 at least."""
    return _at_least_float32(weight).flatten(1).square().sum(-1).sqrt()


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
