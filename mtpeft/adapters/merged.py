"""What is left of an adapter once its weights were merged, for inference."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter, Merged, NotMergeableError, Unstacked
from mtpeft.adapters.lanes.on_map import OnMap, needs_map
from mtpeft.adapters.layers import AdapterConv2d, AdapterConv2dSame, AdapterLayer, AdapterLinear

_PLAIN = {
    AdapterLinear: nn.Linear,
    AdapterConv2d: nn.Conv2d,
    AdapterConv2dSame: Conv2dSame,
}


class MergedAdapter(Adapter):
    r"""A layer's merged weights: the shared one in the layer, one for each lane here.

    .. math:: y = W' x + b, \qquad y_t = W'_t x_t + b

    Args:
        layer: The adapted layer; W' becomes its weight.
        tasks: Names of the task lanes.
        weights: W'_t ``(T, *weight.shape)``, ``None`` without lanes.

    Example:
        >>> weights = torch.zeros(2, 4, 8)
        >>> list(MergedAdapter(nn.Linear(8, 4), ['semseg', 'depth'], weights).state_dict())
        ['task_weight.semseg', 'task_weight.depth']
    """

    def __init__(
        self, layer: nn.Module, tasks: Sequence[str] = (), weights: Tensor | None = None
    ) -> None:
        super().__init__(layer, tasks)
        if tasks:
            self.task_weight = _frozen(weights)
            self.task_parameters = {'merged': ['task_weight']}

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, None]:
        return layer.frozen(x), None

    def stream_weight(self, layer: nn.Module) -> Tensor:
        return layer.weight

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        return layer.convolve(x, params['task_weight'], layer.bias)


class MergedShared(OnMap, Adapter):
    r"""The shared path of a layer merged, its lanes kept: those that read the shared stream.

    A lane of MTLoRA's ``matrix`` wants W0 x, where the shared stream goes on with W' x. Both come
    from one product with ``(2 out, in)``, W0 above W'; where the shared stream is read by nobody,
    or the lanes want its output (``matrixv2``), one of the two is enough.

    Args:
        layer: The adapted layer. Its weight is W0, or the one of the two that is enough.
        lanes: The adapter of the lanes.
        both: W0 above W', ``None`` where the layer's own weight is enough.
    """

    def __init__(self, layer: nn.Module, lanes: Adapter, both: Tensor | None) -> None:
        super().__init__(layer, lanes.tasks)
        self.kept = lanes
        self.both = None if both is None else _frozen(both)
        names = [name for name, _ in self.named_parameters()]
        self.base_parameters = {'merged': names}
        self.coupling = lanes.coupling

    @property
    def needs_map(self) -> bool:
        return needs_map(self.kept)

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor | Unstacked]:
        return self.kept.lane_tensors(layer)

    def all_lanes(self, *args, **kwargs) -> Tensor:
        """See :meth:`~mtpeft.adapters.TADFormer.all_lanes`."""
        return self.kept.all_lanes(*args, **kwargs)

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Any]:
        if self.both is None:
            frozen = out = layer.frozen(x)
        else:
            bias = None if layer.bias is None else layer.bias.repeat(2)
            both = layer.convolve(x, self.both, bias)
            frozen, out = both.chunk(2, 1 if isinstance(layer, nn.Conv2d) else -1)
        return out, self.kept.memory_of(frozen, x)

    def lane(self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Any) -> Tensor:
        return self.kept.lane(layer, x, params, memory)

    def low_rank_lane(self, *args: Any) -> tuple | None:
        """See :meth:`~mtpeft.adapters.LoRA.low_rank_lane`."""
        return self.kept.low_rank_lane(*args)

    def ranks(self) -> dict[str, int]:
        return self.kept.ranks()


@torch.no_grad()
def merge_layer(
    layer: AdapterLayer, in_lane_block: bool, has_shared: bool = True, idle: bool = False
) -> tuple[nn.Module | None, str, str]:
    """What takes the place of an adapted layer.

    Args:
        layer: The layer, in eval mode.
        in_lane_block: Lanes pass its block, so the layer has to remember its output for them.
        has_shared: A shared stream passes the layer.
        idle: Nobody reads what the shared stream's adapter adds.

    Returns:
        The new module (``None``: the layer stays), what was done (``'shared'``, ``'lanes'``,
        ``'shared path'`` or ``'left'``), and why not more.
    """
    adapter = layer.adapter
    try:
        merged = _of_type(adapter.merged(layer, has_shared, idle), layer.weight.dtype)
    except NotMergeableError as error:
        return None, 'left', str(error).split('. ')[0].rstrip('.')
    if merged.lanes is not None:
        new = MergedShared(layer, merged.lanes, merged.both)
        return _hosted(layer, new, merged.weight), 'shared path', merged.note
    if merged.task_weights is not None:
        new = MergedAdapter(layer, adapter.tasks, merged.task_weights)
        return _hosted(layer, new, merged.weight), 'lanes', ''
    if in_lane_block:
        return _hosted(layer, MergedAdapter(layer), merged.weight), 'shared', ''
    return plain_layer(layer, merged.weight), 'shared', ''


def _of_type(merged: Merged, dtype: torch.dtype) -> Merged:
    """In the layer's own type: a method may form its weights in a wider one."""
    cast = {name: value.to(dtype) for name, value in merged._asdict().items()
            if isinstance(value, Tensor)}  # fmt: skip
    return merged._replace(**cast)


def plain_layer(layer: AdapterLayer, weight: Tensor) -> nn.Module:
    """The layer without its adapter, of the plain class, with another weight."""
    plain = next(kind for adapted, kind in _PLAIN.items() if isinstance(layer, adapted))
    new = _with_weight(layer, weight)
    new.__class__ = plain
    del new._modules['adapter']
    return new


def _hosted(layer: AdapterLayer, adapter: Adapter, weight: Tensor | None) -> AdapterLayer:
    """The layer with another adapter and another weight."""
    new = _with_weight(layer, weight)
    new.adapter = adapter.train(layer.training)
    return new


def _with_weight(layer: AdapterLayer, weight: Tensor | None) -> AdapterLayer:
    new = copy(layer)
    # what the original has stays the original's
    new._parameters, new._modules = dict(layer._parameters), dict(layer._modules)
    if weight is not layer.weight:
        new._parameters['weight'] = None if weight is None else _frozen(weight)
    return new


def _frozen(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)
