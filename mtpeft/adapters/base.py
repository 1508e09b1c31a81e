"""What every adapter method has in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mtpeft.adapters.stacked_state import StackedState


@dataclass(frozen=True)
class Coupling:
    """How the lanes of a layer and its shared stream depend on each other.

    What a lane gets of the shared stream is the *memory* that
    :meth:`Adapter.shared_and_memory` returns beside the output.

    Attributes:
        reads: What lanes read of the shared stream: ``'input'``, what the frozen layer made of its
            input; ``'output'``, what its own path made (and so its input too); ``None``, nothing.
        read_by_shared: The shared stream's output is made of the lanes', by the method
            ``shared_from_lanes(layer, x, lanes)``, so both run together.
        while_same: A lane gets the memory only where its input is still the shared stream's, and
            ``None`` behind the first layer with lanes.
    """

    reads: Literal['input', 'output'] | None = None
    read_by_shared: bool = False
    while_same: bool = False

    @property
    def ties(self) -> bool:
        """Can lanes not do without a shared stream?"""
        return self.reads is not None or self.read_by_shared


class Unstacked(NamedTuple):
    """A tensor that every lane gets whole: it is the same for all and has no task axis."""

    tensor: Tensor


class Merged(NamedTuple):
    """What of an adapter is left in weights, see :meth:`Adapter.merged`.

    Attributes:
        weight: Of the layer; ``None``: nothing passes it but lanes.
        task_weights: Of the lanes, ``(T, *weight.shape)``; ``None``: there are none, or they stay.
        lanes: The adapter of lanes that stay, without what the shared path alone has.
        both: W0 above W', ``(2 out, ...)``, where lanes read the one and the shared stream goes on
            with the other.
        note: Why lanes stay.
    """

    weight: Tensor | None
    task_weights: Tensor | None = None
    lanes: 'Adapter | None' = None
    both: Tensor | None = None
    note: str = ''


class Adapter(StackedState):
    """Parameters beside one frozen layer, for the shared stream and for ``T`` task lanes.

    A method is a subclass: it creates its parameters, says how a stream passes the layer
    (:meth:`forward`, :meth:`lane`) and, where it can, what it adds to the weight
    (:meth:`delta_weight`). Task parameters are stacked on a leading task axis, ``(T, ...)``, so
    that a block runs for all tasks at once under ``torch.vmap``; in a state dict every task has
    its own key, ``<parameter>.<task>``, so that tasks can be loaded in any order.

    Args:
        layer: The adapted layer (its geometry is read, nothing of it is kept).
        tasks: Names of the task lanes; empty for a layer that only the shared stream passes.

    Attributes:
        shared_parameters: Component -> names of the parameters of the shared stream.
        task_parameters: Component -> names of the stacked parameters of the lanes.
        base_parameters: Component -> names of parameters that all lanes share, and the shared
            stream does not read.
    """

    #: the shared path, and a lane that sees its own input only, change the weight and nothing else
    mergeable = True
    #: how lanes and shared stream depend on each other; a method may set it in its constructor
    coupling = Coupling()
    #: can stand beside a module with layers inside, such as an MLP or a block, for its lanes
    beside_modules = False

    def __init__(self, layer: nn.Module, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.shared_parameters: dict[str, list[str]] = {}
        self.task_parameters: dict[str, list[str]] = {}
        self.base_parameters: dict[str, list[str]] = {}

    # -- the streams ---------------------------------------------------------------------------

    def forward(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The shared stream: input ``(..., in)`` or ``(B, in, H, W)``, output alike with out."""
        return self.shared_and_memory(layer, x)[0]

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The shared stream's output, and what :meth:`lane` wants to know of this pass."""
        raise TypeError(f'{type(self).__name__} does not define a shared stream.')

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        """One task's stream.

        Args:
            layer: The adapted layer.
            x: This task's input of the layer.
            params: This task's slice of what :meth:`lane_tensors` gives, without the task axis.
            memory: What :meth:`shared_and_memory` kept.
        """
        raise TypeError(f'{type(self).__name__} has no task lanes.')

    def without_shared(self) -> None:
        """Give up the shared stream, where none but the lanes pass the layer.

        Raises:
            ValueError: the lanes cannot do without.
        """
        if self.coupling.ties:
            reads = self.coupling.reads is not None
            raise ValueError(
                f'{type(self).__name__} ties its lanes to a shared stream '
                f"({'they read it' if reads else 'it reads them'}), and streams='network' has "
                "none; use streams='stage', or an adapter with frozen_input='task'"
            )
        for name in (name for names in self.shared_parameters.values() for name in names):
            owner, _, attribute = name.rpartition('.')
            delattr(self.get_submodule(owner), attribute)
        self.shared_parameters = {}

    # -- weights -------------------------------------------------------------------------------

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        """What the shared path (``task=None``) or a task adds to the frozen weight.

        Raises:
            NotMergeableError: the method is no change of the weight alone.
        """
        raise NotMergeableError(f'{type(self).__name__} cannot be merged into a weight.')

    def weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        """The merged weight of the shared path or of a task."""
        return layer.weight + self.delta_weight(layer, task)

    def task_weights(self, layer: nn.Module) -> Tensor:
        """The merged weights of all lanes, ``(T, *weight.shape)``.

        Raises:
            NotMergeableError: a lane is no change of the weight alone.
        """
        return torch.stack([self.weight(layer, task) for task in self.tasks])

    def merged(self, layer: nn.Module, has_shared: bool = True, idle: bool = False) -> Merged:
        """What of the adapter can be held by weights, for inference.

        Args:
            layer: The adapted layer.
            has_shared: A shared stream passes the layer.
            idle: Nobody reads what the shared stream's path adds.

        Raises:
            NotMergeableError: nothing.
        """
        if not self.tasks:
            return Merged(self.weight(layer))
        weights = self.task_weights(layer)
        return Merged(self.weight(layer) if has_shared else None, weights)

    def reset_from_weight(self, layer: nn.Module) -> None:
        """Called when the frozen weight was (re)loaded; methods that start from it override."""

    def stream_weight(self, layer: nn.Module) -> Tensor | None:
        """The weight that the shared stream passes in a pass made now, with its gradient.

        ``None`` where the stream is more than one product (dropout, or no change of a weight).
        """
        return None

    # -- task parameters -----------------------------------------------------------------------

    def lane_parameters(self) -> dict[str, nn.Parameter]:
        """The stacked parameters ``(T, ...)`` of the lanes by name."""
        names = (name for names in self.task_parameters.values() for name in names)
        return {name: getattr(self, name) for name in names}

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor | Unstacked]:
        """What :meth:`lane` gets a slice of, ``(T, ...)`` by name; the parameters by default.

        Called once a pass.
        """
        return self.lane_parameters()

    def lane_slices(
        self, layer: nn.Module, tasks: Sequence[int] | None = None
    ) -> list[dict[str, Tensor]]:
        """What :meth:`lane` gets for each of the lanes ``tasks``, by position; all by default."""
        same, rows = {}, {}
        for name, given in self.lane_tensors(layer).items():
            if isinstance(given, Unstacked):
                same[name] = given.tensor
            else:
                # rows taken one by one would each get their gradient in a stack of zeros
                rows[name] = given.unbind()
        tasks = range(len(self.tasks)) if tasks is None else tasks
        return [{**{name: row[i] for name, row in rows.items()}, **same} for i in tasks]

    def task_index(self, task: str) -> int:
        """Position of ``task`` on the task axis."""
        return self.tasks.index(task)

    def ranks(self) -> dict[str, int]:
        """Rank of the shared path (key ``'shared'``) and of each task, for reports."""
        return {}

    def extra_repr(self) -> str:
        lanes = f', tasks={list(self.tasks)}' if self.tasks else ''
        return f'ranks={self.ranks()}{lanes}'


class NotMergeableError(RuntimeError):
    """The method (or this stream of it) is no change of the weight alone."""


def check_rank(rank: Any, layer: nn.Module, what: str = 'rank') -> int:
    """Return ``rank`` if it is an integer from 1 to the layer's smaller side.

    Raises:
        ValueError: otherwise; :func:`mtpeft.adapters.inject.inject` adds the layer's name.
    """
    limit = min(matrix_shape(layer))
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= limit:
        raise ValueError(
            f'expected {what} to be an integer from 1 to {limit} '
            f'(the smaller side of a {" x ".join(map(str, matrix_shape(layer)))} weight), '
            f'got {rank!r}'
        )
    return rank


def matrix_shape(layer: nn.Module) -> tuple[int, int]:
    """``(out, in)`` of the weight as a matrix; a convolution's kernel counts into ``in``.

    Of a module with layers inside, the widths ``(out, in)`` of its last and of its first layer.
    """
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        return layer.weight.shape[0], layer.weight[0].numel()
    inside = layers_inside(layer)
    if not inside:
        raise ValueError(
            f'expected a Linear layer, a Conv2d or a module with some inside, got '
            f'{type(layer).__name__}'
        )
    first, last = inside[0], inside[-1]
    width = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    return last.weight.shape[0], width


def layers_inside(module: nn.Module) -> list[nn.Module]:
    """Linear layers and convolutions that a map passes in a module, in their order.

    Without those of adapters, and of the network that makes Swin V2's position bias.
    """
    aside = '.adapter.', '.cpb_mlp.'
    return [
        m
        for name, m in module.named_modules()
        if name
        and isinstance(m, (nn.Linear, nn.Conv2d))
        and not any(a in f'.{name}.' for a in aside)
    ]
