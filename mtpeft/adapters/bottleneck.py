"""Bottleneck adapters after a layer (Houlsby et al., arXiv 1902.00751)."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter, NotMergeableError
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Positive, Size
from mtpeft.utils.suggest import hint

ACTIVATIONS = {
    'gelu': F.gelu,
    'relu': F.relu,
    'silu': F.silu,
    'tanh': F.tanh,
    'identity': lambda x: x,
}
_REDUCTION = 8


@ADAPTERS.register_module()
class BottleneckAdapter(Adapter):
    r"""A small MLP with a residual behind a layer (arXiv 1902.00751, figure 2).

    .. math:: y = h + s\,\big(W_\uparrow\, a(W_\downarrow h + b_\downarrow) + b_\uparrow\big),
              \qquad h = W_0 x + b

    and for a task lane the same with its own parameters and its own input, :math:`h_t = W_0 x_t +
    b`. On ``proj`` and ``fc2`` of a transformer this is the published place: after attention and
    after the MLP, before their residual connections. W_down ``(m, out)`` starts uniform in
    +-1/sqrt(out); W_up ``(out, m)`` and both biases start at 0, so the start is the pretrained
    layer. On a convolution both are 1 x 1 over the channels of its output. It is no change of a
    weight and cannot be merged.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        width: m of every stream. Default: outputs / ``reduction``, rounded, at least 1.
        reduction: Outputs of the layer over m, 8 by default; the alternative to ``width``.
        activation: a: ``'gelu'``, ``'relu'``, ``'silu'``, ``'tanh'`` or ``'identity'``.
        bias: ``False``: without b_down and b_up.
        scale: s.

    Raises:
        ValueError: a width below 1, both ``width`` and ``reduction``, or an unknown activation.

    Example:
        >>> adapter = BottleneckAdapter(nn.Linear(8, 16), tasks=['semseg', 'depth'], width=4)
        >>> adapter.down.shape, adapter.task_up.shape
        (torch.Size([4, 16]), torch.Size([2, 16, 4]))
    """

    mergeable = False

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        width: Size | None = None,
        reduction: Positive | None = None,
        activation: Literal['gelu', 'relu', 'silu', 'tanh', 'identity'] = 'gelu',
        bias: bool = True,
        scale: float = 1.0,
    ) -> None:
        super().__init__(layer, tasks)
        self.channels = layer.weight.shape[0]
        self._conv = isinstance(layer, nn.Conv2d)
        self.width = self.pick_width(width, reduction)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation='{activation}' is unknown. " + hint(str(activation), ACTIVATIONS)
            )
        self.activation = activation
        self.bias = bias
        self.scale = scale
        self.make_parameters(layer)

    def pick_width(self, width: int | None, reduction: float | None) -> int:
        """m from the two options.

        Raises:
            ValueError: they do not fit.
        """
        if width is not None and reduction is not None:
            raise ValueError(f'expected width or reduction, got both ({width!r} and {reduction!r})')
        if width is None:
            reduction = _REDUCTION if reduction is None else reduction
            if not reduction > 0:
                raise ValueError(f'expected reduction to be positive, got {reduction!r}')
            return max(1, round(self.channels / reduction))
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f'expected width to be a positive integer, got {width!r}')
        return width

    def make_parameters(self, layer: nn.Module) -> None:
        """Create the parameters of the shared stream, and those of the lanes."""
        self.shared_parameters = {'adapter_shared': self._add('', (), layer)}
        if self.tasks:
            lead = (len(self.tasks),)
            self.task_parameters = {'adapter_task': self._add('task_', lead, layer)}

    def _add(self, prefix: str, lead: tuple[int, ...], layer: nn.Module) -> list[str]:
        channels, width = self.channels, self.width
        shapes = dict(down=(width, channels), up=(channels, width))
        if self.bias:
            shapes |= dict(down_bias=(width,), up_bias=(channels,))
        for name, shape in shapes.items():
            parameter = nn.Parameter(layer.weight.new_zeros(*lead, *shape))
            if name == 'down':
                nn.init.uniform_(parameter, -(channels**-0.5), channels**-0.5)
            setattr(self, prefix + name, parameter)
        return [prefix + name for name in shapes]

    # -- streams -------------------------------------------------------------------------------

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, None]:
        return self.bottleneck(layer.frozen(x), self.shared_tensors(layer)), None

    def shared_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        """Weights of the shared stream: ``down``, ``up`` and, with biases, those of both."""
        return {n: getattr(self, n) for names in self.shared_parameters.values() for n in names}

    def lane(self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: None) -> Tensor:
        return self.bottleneck(
            layer.frozen(x), {name.removeprefix('task_'): p for name, p in params.items()}
        )

    def bottleneck(self, h: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """``h + s (W_up a(W_down h + b_down) + b_up)`` of a layer's output ``h``."""
        product = _pointwise if self._conv else F.linear
        inner = product(h, weights['down'], weights.get('down_bias'))
        inner = ACTIVATIONS[self.activation](inner)
        return h + self.scale * product(inner, weights['up'], weights.get('up_bias'))

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        raise NotMergeableError(
            f'{type(self).__name__} is a nonlinear layer of its own behind the adapted one: it is '
            'no change of a weight and cannot be merged. LoRA and its kin can.'
        )

    def ranks(self) -> dict[str, int]:
        shared = ('shared',) if self.shared_parameters else ()
        return dict.fromkeys((*shared, *self.tasks), self.width)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)
