"""What every adapter method has in common."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mtpeft.ops.gelu_low_rank_add import LowRankSum, made


class Remembered(NamedTuple):
    """What a layer keeps of the shared pass for the lane pass of the same block.

    Attributes:
        output: The layer's output for the shared stream.
        lane_input: What the adapter's lanes want of the shared stream (see
            :meth:`Adapter.shared_and_memory`), ``None`` for nothing.
        input: The layer's input, where a gradient will flow to it.
    """

    output: Tensor
    lane_input: Tensor | None
    input: Tensor | None = None


class Adapter(nn.Module):
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
    #: the lanes need the shared stream's input of this layer (``frozen_input='shared'``)
    lane_reads_shared_input = False
    #: the lanes need the output of the shared path of this very layer
    lane_reads_shared_output = False
    #: the shared stream needs the lanes of the same layer, so both must run together
    shared_reads_lanes = False
    #: what :meth:`shared_and_memory` keeps is its input, as dropout left it; a lane gets it where
    #: its own input is still the shared stream's, and ``None`` behind the first layer with lanes
    memory_is_input = False

    def __init__(self, layer: nn.Module, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.shared_parameters: dict[str, list[str]] = {}
        self.task_parameters: dict[str, list[str]] = {}
        self.base_parameters: dict[str, list[str]] = {}

    #: :meth:`prepare` was called for the pass that is made now
    prepared = False
    #: can stand beside a module with layers inside, such as an MLP or a block, for its lanes
    beside_modules = False
    #: a Linear layer's lanes convolve, so they have to know the map that its tokens are of
    needs_map = False
    #: the option with which lanes need no map
    without_map = 'kernel_size=None'

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
            params: This task's slice of what :meth:`lane_tensors` gives, without the task axis, and
                :meth:`lane_constants`.
            memory: What :meth:`shared_and_memory` kept.
        """
        raise TypeError(f'{type(self).__name__} has no task lanes.')

    def lane_unmade(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor | LowRankSum:
        """:meth:`lane`, or what it is the sum of, for :meth:`lane_after` of the next layer.

        Not called under ``torch.vmap``.
        """
        return self.lane(layer, x, params, memory)

    def lane_after(
        self,
        layer: nn.Module,
        activation: nn.Module,
        x: Tensor | LowRankSum,
        params: dict[str, Tensor],
        memory: Tensor | None,
    ) -> Tensor:
        """:meth:`lane` of ``activation(x)``, which a method that reads little of it need not make.

        Not called under ``torch.vmap``.
        """
        return self.lane(layer, activation(made(x)), params, memory)

    def shared_from_lanes(self, layer: nn.Module, x: Tensor, lanes: list[Tensor]) -> Tensor:
        """The shared stream's output where it is made of the lanes' (``shared_reads_lanes``)."""
        raise TypeError(f'{type(self).__name__} does not make its shared stream of its lanes.')

    def without_shared(self) -> None:
        """Give up the shared stream, where none but the lanes pass the layer.

        Raises:
            ValueError: the lanes cannot do without.
        """
        reads = self.lane_reads_shared_input or self.lane_reads_shared_output
        if reads or self.shared_reads_lanes:
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

    def reset_from_weight(self, layer: nn.Module) -> None:
        """Called when the frozen weight was (re)loaded; methods that start from it override."""

    def prepare(self, layer: nn.Module) -> None:
        """Renew what is kept of the frozen weight, before a compiled graph that cannot passes."""
        self.prepared = True

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

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        """What :meth:`lane` gets a slice of, ``(T, ...)`` by name; the parameters by default."""
        return self.lane_parameters()

    def lane_constants(self, layer: nn.Module) -> dict[str, Tensor]:
        """What :meth:`lane` gets besides, made once a pass and the same for every lane."""
        return {}

    def lane_slices(
        self, layer: nn.Module, tasks: Sequence[int] | None = None
    ) -> list[dict[str, Tensor]]:
        """What :meth:`lane` gets for each of the lanes ``tasks``, by position; all by default."""
        # rows taken one by one would each get their gradient in a stack of zeros
        rows = {name: stacked.unbind() for name, stacked in self.lane_tensors(layer).items()}
        constants = self.lane_constants(layer)
        tasks = range(len(self.tasks)) if tasks is None else tasks
        return [{**{name: row[i] for name, row in rows.items()}, **constants} for i in tasks]

    def task_index(self, task: str) -> int:
        """Position of ``task`` on the task axis."""
        return self.tasks.index(task)

    def ranks(self) -> dict[str, int]:
        """Rank of the shared path (key ``'shared'``) and of each task, for reports."""
        return {}

    # -- state: one key a task -----------------------------------------------------------------

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, stacked in self.lane_parameters().items():
            destination.pop(prefix + name)
            for index, task in enumerate(self.tasks):
                one = stacked[index]
                destination[f'{prefix}{name}.{task}'] = one if keep_vars else one.detach()

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list,
        unexpected_keys: list,
        error_msgs: list,
    ) -> None:
        stacked = {}
        for name, parameter in self.lane_parameters().items():
            keys = [f'{prefix}{name}.{task}' for task in self.tasks]
            missing_keys += [key for key in keys if key not in state_dict]
            wrong = [
                f'{key}: expected shape {tuple(parameter.shape[1:])}, '
                f'got {tuple(state_dict[key].shape)}'
                for key in keys
                if key in state_dict and state_dict[key].shape != parameter.shape[1:]
            ]
            error_msgs += wrong
            if not wrong:
                rows = [state_dict.get(key, parameter.detach()[i]) for i, key in enumerate(keys)]
                rows = [row.to(parameter) for row in rows]
                stacked[prefix + name] = torch.stack(rows) if rows else parameter.detach()
            else:
                stacked[prefix + name] = parameter.detach()
        super()._load_from_state_dict(
            {**state_dict, **stacked}, prefix, local_metadata, strict, missing_keys, [], error_msgs
        )
        if strict:
            own = {prefix + name for name in self.state_dict()}
            unexpected_keys += [k for k in state_dict if k.startswith(prefix) and k not in own]

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
