"""The ways of lanes through a block, and the one place that decides between them.

| strategy | where | way |
|---|---|---|
| ``'vmap'`` | lanes add to the shared stream behind attention, on a CPU | :func:`in_turn` |
| | a graph is exported: vmap would fix its number of pictures | :func:`in_turn` |
| | one lane, or convolutions under a CPU's autocast | :func:`looped` |
| | else | :func:`mapped` |
| ``'loop'`` | | :func:`looped` |

With ``'fold'``, or where the shared stream reads the lanes, all streams are one pass of the block,
which is no way of lanes (:class:`~mtpeft.adapters.lanes.passes.FoldedPass`).
"""

from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from mtpeft.adapters.base import Unstacked
from mtpeft.adapters.lanes.current import within
from mtpeft.adapters.lanes.passes import LanePass, Remembered
from mtpeft.adapters.layers import AdapterLayer
from mtpeft.utils.exporting import exported


@dataclass(frozen=True)
class Lanes:
    """The lanes of one pass through a block.

    Attributes:
        layers: The layers with lanes, by name.
        names: Every adapted layer of the block -> its name.
        tasks: Positions of the lanes' tasks, ``None`` for all.
        count: How many lanes.
        memory: What the shared pass left.
        passed: What the block makes of a memory in the pass that is made now.
        copied: Names of layers whose output the block changes in place.
        drops: Dropout draws for each lane.
        marking: A context in which what is drawn for a lane is noted in its pass.
    """

    layers: dict[str, AdapterLayer]
    names: dict[AdapterLayer, str]
    tasks: Sequence[int] | None
    count: int
    memory: dict[str, Remembered]
    passed: Callable[[dict[str, Remembered]], Tensor]
    copied: Container[str]
    drops: bool
    marking: Callable[[LanePass], AbstractContextManager]


Way = Callable[[Lanes], Tensor | list[Tensor]]


def mapped(lanes: Lanes) -> Tensor:
    """All lanes under ``torch.vmap``: what does not depend on the task is computed once."""
    params, axes = {}, {}
    for name, layer in lanes.layers.items():
        tensors = layer.adapter.lane_tensors(layer)
        same = {n: t.tensor for n, t in tensors.items() if isinstance(t, Unstacked)}
        rows = select_tasks({n: t for n, t in tensors.items() if n not in same}, lanes.tasks)
        params[name] = {**rows, **same}
        axes[name] = {**dict.fromkeys(rows, 0), **dict.fromkeys(same)}

    def lane(params: dict, memory: dict) -> Tensor:
        with within(stream=LanePass(lanes.names, params, memory, lanes.copied, False)):
            return lanes.passed(memory)

    return torch.vmap(lane, in_dims=(axes, None), randomness='different')(params, lanes.memory)


def in_turn(lanes: Lanes) -> list[Tensor]:
    """One lane after another.

    On a CPU one lane's tensors are made in the memory of the one before, while those of all lanes
    together are mapped anew each time.
    """
    slices = {n: la.adapter.lane_slices(la, lanes.tasks) for n, la in lanes.layers.items()}
    out = []
    for i in range(lanes.count):
        params = {name: rows[i] for name, rows in slices.items()}
        stream = LanePass(lanes.names, params, lanes.memory, lanes.copied, lanes.drops)
        with within(stream=stream), lanes.marking(stream):
            out.append(lanes.passed(lanes.memory))
    return out


def looped(lanes: Lanes) -> Tensor:
    """One lane after another, stacked: the plain form that the others are tested against."""
    return torch.stack(in_turn(lanes))


def way_of(strategy: str, count: int, add_behind_attention: bool, unmappable: bool) -> Way:
    """The way of ``count`` lanes, see the table of this module."""
    if strategy == 'vmap' and (add_behind_attention or exported()):
        return in_turn
    if strategy == 'loop' or count == 1 or unmappable:
        return looped
    return mapped


def select_tasks(
    tensors: dict[str, Tensor], tasks: Sequence[int] | None
) -> dict[str, Tensor]:  # fmt: skip
    """The rows ``tasks`` of stacked tensors ``(T, ...)``; views where they lie side by side."""
    if tasks is None:
        return tensors
    first, end = tasks[0], tasks[-1] + 1
    rows = slice(first, end) if list(tasks) == list(range(first, end)) else list(tasks)
    return {name: tensor[rows] for name, tensor in tensors.items()}
