"""The MLP of a block, in which a lane may pass the activation in runs of rows."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now
from mtpeft.adapters.layers import AdapterLinear
from mtpeft.ops.gelu_low_rank_add import LowRankSum, gelu_low_rank_add, made, takes_less


class _Form(NamedTuple):
    """A lane that adds a product of low rank to what is there: ``frozen + scale B A x``."""

    frozen: Tensor
    a: Tensor
    b: Tensor
    scale: float
    gain: Tensor | None


def through_mlp(fc1: nn.Module, activation: nn.Module, fc2: nn.Module, x: Tensor) -> Tensor:
    """``fc2(activation(fc1(x)))``, without the whole of the activation's output where a lane's
    product of low rank is all that reads it (:mod:`mtpeft.ops.gelu_low_rank_add`)."""
    first = _low_rank_form(fc1, x)
    if first is not None and first.gain is None:
        hidden = LowRankSum(first.frozen, x, first.a, first.b, first.scale)
    else:
        hidden = fc1(x)
    second = _low_rank_form(fc2, hidden)
    if second is None or not takes_less(activation, hidden):
        return fc2(activation(made(hidden)))
    out = gelu_low_rank_add(
        second.frozen, hidden, second.a, second.b, second.scale, activation.approximate
    )
    return fc2.scaled(out, second.gain)


def _low_rank_form(layer: nn.Module, x: Any) -> _Form | None:
    """What the lane that passes ``layer`` alone is, where that is a product of low rank."""
    stream = now.stream
    alone = getattr(stream, 'alone', None)
    if alone is None or not isinstance(layer, AdapterLinear) or layer not in stream.carries:
        return None
    own = alone(layer, x)
    low_rank_lane = getattr(layer.adapter, 'low_rank_lane', None)
    if own is None or low_rank_lane is None or own[1] is None:
        return None
    lane = low_rank_lane(*own)
    return None if lane is None else _Form(own[1], *lane)
