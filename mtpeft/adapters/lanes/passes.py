"""Passes through a block: what carries its adapted layers while it runs.

A pass is called in the place of a layer's adapter, ``stream(layer, x)``, for each layer that it
``carries``. Which pass runs is a value of :mod:`mtpeft.adapters.lanes.current`.
"""

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mtpeft.adapters.layers import AdapterLayer, AdapterModule
from mtpeft.structures.levels import apart
from mtpeft.utils.torch_private import is_batched


class Remembered(NamedTuple):
    """What a layer keeps of the shared pass for the lane pass of the same block.

    Attributes:
        output: The layer's output for the shared stream.
        memory: What the adapter's lanes want of the shared stream (see
            :meth:`~mtpeft.adapters.base.Adapter.shared_and_memory`), ``None`` for nothing.
        input: The layer's input, where a gradient will flow to it.
    """

    output: Tensor
    memory: Any
    input: Tensor | None = None


class SharedPass:
    """The shared stream of a lane block: records what the lanes will want.

    Args:
        names: Layer -> its name in the block.
        copied: Names of layers whose output the block changes in place.
        kept: A layer whose input is kept whether or not it has a gradient.
    """

    diverged = False

    def __init__(
        self,
        names: dict[AdapterLayer, str],
        copied: Container[str],
        kept: AdapterLayer | None = None,
    ) -> None:
        self.carries = self.names = names
        self.copied = copied
        self.kept = kept
        self.memory: dict[str, Remembered] = {}

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        out, memory = layer.adapter.shared_and_memory(layer, x)
        name = self.names[layer]
        keep = layer is self.kept or torch.is_grad_enabled() and x.requires_grad
        self.memory[name] = Remembered(out, memory, x if keep else None)
        return out.clone() if name in self.copied else out


class LanePass:
    """One lane: its layers use the task's parameters, the others what was recorded.

    A layer without lanes whose input does not depend on the task returns its remembered output:
    nothing adapted is computed twice, and its dropout is the one of the shared pass. The first
    layer with lanes goes on from the shared pass's input, so attention is run backwards once.

    Args:
        names: Layer -> its name in the block.
        params: What the lane gets of each layer with lanes, by name.
        memory: What the shared pass left, by name; empty where there was none.
        copied: Names of layers whose output the block changes in place.
        diverged: Something is drawn for this lane, so no input is the shared stream's.

    Attributes:
        diverged: The same, or a layer with lanes has been passed.
    """

    def __init__(
        self,
        names: dict[AdapterLayer, str],
        params: dict[str, dict[str, Tensor]],
        memory: dict[str, Remembered],
        copied: Container[str],
        diverged: bool,
    ) -> None:
        self.carries = self.names = names
        self.copied = copied
        self.params = params
        self.memory = memory
        self.diverged = diverged

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        name = self.names[layer]
        remembered = self.memory.get(name)
        as_shared = not self.diverged and not is_batched(x)
        if name in self.params:
            self.diverged = True
            if as_shared and remembered and remembered.input is not None:
                # the same numbers; what this pass computed them with need not be passed backwards
                x = remembered.input
            return layer.adapter.lane(layer, x, self.params[name], self._memory(layer, as_shared))
        if as_shared and remembered:
            return remembered.output.clone() if name in self.copied else remembered.output
        return layer.adapter(layer, x)

    def alone(self, layer: AdapterLayer, x: Any) -> tuple[dict[str, Tensor], Any] | None:
        """The parameters and the memory of a lane that passes ``layer`` with an input of its own.

        ``None`` where several lanes are mapped, or the layer has no lanes.
        """
        batched = isinstance(x, Tensor) and is_batched(x)
        if batched or not self.diverged or self.names[layer] not in self.params:
            return None
        return self.params[self.names[layer]], self._memory(layer, False)

    def _memory(self, layer: AdapterLayer, as_shared: bool) -> Any:
        remembered = self.memory.get(self.names[layer])
        if remembered is None or layer.adapter.coupling.while_same and not as_shared:
            return None
        return remembered.memory


class FoldedPass:
    """All streams at once: the batch axis holds the shared stream, then each lane.

    Args:
        layers: The block's adapted layers.
        tasks: Positions of the tasks on the batch axis.
        diverged: Something is drawn for each stream.
    """

    def __init__(
        self, layers: Container[AdapterLayer], tasks: Sequence[int], diverged: bool
    ) -> None:
        self.carries = layers
        self.tasks = tasks
        self.diverged = diverged

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        adapter = layer.adapter
        if not adapter.tasks:
            return adapter(layer, x)
        coupling = adapter.coupling
        shared, *lanes = apart(x, 1 + len(self.tasks))
        params = adapter.lane_slices(layer, self.tasks)
        if isinstance(layer, AdapterModule):
            # what is inside sees all streams, as everywhere in a folded pass
            out, *passed = apart(layer.frozen(x), 1 + len(self.tasks))
            self.diverged = True
            own = zip(lanes, params, passed, strict=True)
            return torch.cat([out, *(adapter.lane(layer, *values) for values in own)])
        if coupling.read_by_shared:
            memory = layer.frozen(shared)
        else:
            out, memory = adapter.shared_and_memory(layer, shared)
        if coupling.while_same and self.diverged:
            memory = None
        self.diverged = True
        lanes = [adapter.lane(layer, x_t, p, memory) for x_t, p in zip(lanes, params, strict=True)]
        if coupling.read_by_shared:
            out = adapter.shared_from_lanes(layer, shared, lanes)
        return torch.cat([out, *lanes])


class TaskPass:
    """Streams of tasks without a shared one, behind one another on the batch axis.

    Args:
        params: What each task gets of each layer with task parameters.
        tasks: Positions of the tasks on the batch axis.
    """

    diverged = True

    def __init__(self, params: dict[AdapterLayer, list[dict]], tasks: Sequence[int]) -> None:
        self.carries = self.params = params
        self.tasks = tasks

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        params = [self.params[layer][i] for i in self.tasks]
        streams = zip(apart(x, len(params)), params, strict=True)
        return torch.cat([layer.adapter.lane(layer, x_t, p, None) for x_t, p in streams])
