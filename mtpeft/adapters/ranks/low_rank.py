"""Low-rank adapters whose rank can shrink: components, masks, patterns, files.

Component i of a low-rank path is row i of A and column i of B. While a network trains, shapes stay:
of ``rank`` components the first ``active`` count, pruned ones are zero and lie behind them. A state
dict holds the active components only, so a file is as small as its ranks, and loading fills up
what is missing with zeros.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter

SHARED = 'shared'
#: stream of factors that all lanes share
BASE = 'base'
#: streams that are no task's own
COMMON = (SHARED, BASE)


class RankGroup:
    """The components of one adapter's shared path, of all its task lanes, or of their base.

    Args:
        adapter: The adapter that has the factors.
        kind: ``'shared'``, ``'task'``, or ``'base'`` for factors that all lanes share.
        factors: Name of each factor -> axis of its components (in one stream's tensor). The
            product is linear in each component.
        product: Only the product B A of two factors A and B counts, so it may be written in
            another basis.

    Attributes:
        streams: The kind, or the names of the tasks in the order of the task axis.
        stacked: The factors have a leading task axis.
        active: Components in use, by stream; the others are pruned.
        prefix: While training: how many components of each stream this step uses, ``(S,)``
            integers; ``None`` for all active ones.
        prefix_gain: Factors ``(S,)`` of what a ``prefix`` leaves; ``None`` for 1.
        gate: Weights ``(S, rank)`` of the components, in training and evaluation, which gradients
            may flow to; ``None`` for 1.
    """

    def __init__(
        self, adapter: Adapter, kind: str, factors: Mapping[str, int], product: bool = True
    ) -> None:  # fmt: skip
        self.adapter = adapter
        self.kind = kind
        self.stacked = kind not in COMMON
        self.streams = adapter.tasks if self.stacked else (kind,)
        self.factors = dict(factors)
        self.product = product
        self.active = [self.rank] * len(self.streams)
        self.prefix: Tensor | None = None
        self.prefix_gain: Tensor | None = None
        self.gate: Tensor | None = None

    @property
    def last(self) -> str:
        """The factor that weights and masks multiply: the one that starts at 0, as LoRA's B."""
        return list(self.factors)[-1]

    @property
    def rank(self) -> int:
        """Components that the parameters have room for."""
        name, axis = next(iter(self.factors.items()))
        return getattr(self.adapter, name).shape[axis + self.stacked]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The factors by name."""
        return {name: getattr(self.adapter, name) for name in self.factors}

    @property
    def parameters_per_component(self) -> int:
        """Numbers that one component of one stream is made of."""
        count = self.rank * len(self.streams)
        return sum(p.numel() for p in self.parameters.values()) // count

    def moved(self, name: str, tensor: Tensor) -> Tensor:
        """A view ``(S, rank, ...)`` of factor ``name`` or of a tensor shaped like it."""
        stacked = tensor if self.stacked else tensor[None]
        return stacked.movedim(self.factors[name] + 1, 1)

    def effective(self) -> dict[str, Tensor]:
        """The factors that a forward pass uses.

        They are cut to the largest active rank; in a training step with a ``prefix``, components
        behind it are masked. One masked factor is enough: the product and both gradients of a
        masked component are then zero.
        """
        width = max(self.active)
        cut = {}
        for name, axis in self.factors.items():
            factor = getattr(self.adapter, name)
            whole = width == self.rank
            cut[name] = factor if whole else factor.narrow(axis + self.stacked, 0, width)
        weights = self._weights(width)
        if weights is not None:
            cut[self.last] = self._weighted(cut[self.last], weights)
        return cut

    def _weights(self, width: int) -> Tensor | None:
        """Weights ``(S, width)`` of the components in this pass, ``None`` for 1."""
        weights = None if self.gate is None else self.gate[:, :width]
        if self.prefix is None or not self.adapter.training:
            return weights
        dtype = getattr(self.adapter, self.last).dtype
        mask = torch.arange(width, device=self.prefix.device) < self.prefix[:, None]
        mask = mask.to(dtype)
        if self.prefix_gain is not None:
            mask = mask * self.prefix_gain.to(dtype)[:, None]
        return mask if weights is None else mask * weights

    def _weighted(self, factor: Tensor, weights: Tensor) -> Tensor:
        """The last factor (or a part of it) with its components times ``weights``."""
        shape = [len(self.streams)] + [1] * (factor.ndim - self.stacked)
        shape[self.factors[self.last] + 1] = weights.shape[1]
        weights = weights.to(factor.dtype).view(shape)
        return factor * (weights if self.stacked else weights[0])

    def stream_factors(self, stream: str) -> dict[str, Tensor]:
        """All active components of one stream, whatever the training step uses."""
        index = self.streams.index(stream)
        factors = self.parameters
        if self.gate is not None:
            factors[self.last] = self._weighted(factors[self.last], self.gate)
        return {
            name: self._stream(factor, index).narrow(self.factors[name], 0, self.active[index])
            for name, factor in factors.items()
        }

    def _stream(self, tensor: Tensor, index: int) -> Tensor:
        return tensor[index] if self.stacked else tensor

    @torch.no_grad()
    def keep(self, index: int, order: Tensor, tensors: Mapping[str, Sequence[Tensor]]) -> None:
        """Keep the components ``order`` of a stream, in this order, and prune the others.

        Args:
            index: Position of the stream.
            order: ``(k,)`` indices of the components to keep, the most important first.
            tensors: Factor -> tensors shaped like it that are sorted alike: the parameter, its
                gradient, its optimizer moments. Pruned components become 0 in all of them.
        """
        for name, group in tensors.items():
            for tensor in group:
                components = self.moved(name, tensor)[index]
                kept = components[order].clone()
                components.zero_()
                components[: len(order)] = kept
        self.active[index] = len(order)

    @torch.no_grad()
    def multiply(self, weights: Tensor, *tensors: Tensor) -> None:
        """Multiply the components of tensors shaped like the last factor, in place.

        Args:
            weights: ``(S, rank)``.
            *tensors: What is multiplied.
        """
        for tensor in tensors:
            tensor.copy_(self._weighted(tensor, weights))

    @torch.no_grad()
    def compact(self) -> None:
        """Give back the room of pruned components; for inference (optimizers lose the factors)."""
        width = max(self.active)
        for name, axis in self.factors.items():
            old = getattr(self.adapter, name)
            new = old.narrow(axis + self.stacked, 0, width).clone()
            setattr(self.adapter, name, nn.Parameter(new, requires_grad=old.requires_grad))


class LowRankAdapter(Adapter):
    """An adapter with components that can be masked and pruned.

    A method calls :meth:`make_group` once its factors exist, and uses what
    :meth:`RankGroup.effective` gives in its forward pass.

    Attributes:
        groups: :class:`RankGroup` by kind, ``'shared'``, ``'task'`` or ``'base'``.
    """

    def __init__(self, layer: nn.Module, tasks: Sequence[str] = ()) -> None:
        super().__init__(layer, tasks)
        self.groups: dict[str, RankGroup] = {}

    def make_group(self, kind: str, factors: Mapping[str, int], product: bool = True) -> None:
        """Declare the factors of the shared path, of the lanes, or of the lanes' base."""
        self.groups[kind] = RankGroup(self, kind, factors, product)

    def without_shared(self) -> None:
        super().without_shared()
        self.groups.pop(SHARED, None)

    def group_of(self, task: str | None) -> RankGroup:
        """The group of a task's lane, or of the shared path."""
        return self.groups[SHARED if task is None else 'task']

    def factors(self, task: str | None = None) -> list[Tensor]:
        """All active components of the shared path (``task=None``) or of a task, by factor."""
        return list(self.group_of(task).stream_factors(task or SHARED).values())

    def ranks(self) -> dict[str, int]:
        return {
            stream: active
            for group in self.groups.values()
            for stream, active in zip(group.streams, group.active, strict=True)
        }

    def compact(self) -> None:
        """Give back the room of pruned components, see :meth:`RankGroup.compact`."""
        for group in self.groups.values():
            group.compact()

    # -- state: active components only -----------------------------------------------------------

    def _entries(self, prefix: str) -> Iterator[tuple[RankGroup, int, dict[str, int]]]:
        """(group, position of the stream, key in a state dict -> axis of the components)."""
        for group in self.groups.values():
            for index, stream in enumerate(group.streams):
                ending = f'.{stream}' if group.stacked else ''
                keys = {f'{prefix}{name}{ending}': axis for name, axis in group.factors.items()}
                yield group, index, keys

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for group, index, keys in self._entries(prefix):
            if group.active[index] < group.rank:
                for key, axis in keys.items():
                    # a view: an averaged copy of the model is updated through its state dict
                    destination[key] = destination[key].narrow(axis, 0, group.active[index])

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool,
        missing_keys: list, unexpected_keys: list, error_msgs: list,
    ) -> None:  # fmt: skip
        filled = dict(state_dict)
        for group, index, keys in self._entries(prefix):
            if any(key not in state_dict for key in keys):
                continue
            ranks = {_size(state_dict[key], axis) for key, axis in keys.items()}
            rank = ranks.pop()
            if rank is None or ranks or not 1 <= rank <= group.rank:
                error_msgs.append(_misfit(prefix, group, index, state_dict, keys))
                for key in keys:
                    filled[key] = self._own(group, index, key, prefix)
                continue
            group.active[index] = rank
            for key, axis in keys.items():
                filled[key] = _fill(state_dict[key], axis, group.rank)
        super()._load_from_state_dict(
            filled, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _own(self, group: RankGroup, index: int, key: str, prefix: str) -> Tensor:
        name = key.removeprefix(prefix).split('.')[0]
        return group._stream(getattr(self, name), index).detach()


def _size(tensor: Tensor, axis: int) -> int | None:
    return tensor.shape[axis] if axis < tensor.ndim else None


def _misfit(prefix: str, group: RankGroup, index: int, state: Mapping, keys: Mapping) -> str:
    first, axis = next(iter(keys.items()))
    shape = list(group._stream(group.parameters[next(iter(group.factors))], index).shape)
    shape[axis] = 'r'
    found = ', '.join(f'{key.removeprefix(prefix)} {tuple(state[key].shape)}' for key in keys)
    return (
        f'size mismatch for {first}: expected shape ({", ".join(map(str, shape))}) with the same '
        f"rank r, from 1 to {group.rank}, in every factor of '{group.streams[index]}', got {found}."
    )


def _fill(tensor: Tensor, axis: int, rank: int) -> Tensor:
    """``tensor`` with zeros behind it on ``axis``, up to ``rank`` components."""
    lacking = rank - tensor.shape[axis]
    if not lacking:
        return tensor
    shape = list(tensor.shape)
    shape[axis] = lacking
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=axis)


def low_rank_adapters(model: nn.Module) -> dict[str, LowRankAdapter]:
    """The low-rank adapters of ``model`` by the name of their layer."""
    return {
        name.removesuffix('.adapter'): module
        for name, module in model.named_modules()
        if isinstance(module, LowRankAdapter) and module.groups
    }


def rank_pattern(model: nn.Module) -> dict[str, dict[str, int]]:
    """Active rank by layer and stream (``'shared'`` or a task).

    Example:
        >>> from mtpeft.adapters import adapt_layer
        >>> layer = adapt_layer(nn.Linear(8, 4), dict(type='LoRA', rank=2), tasks=['depth'])
        >>> rank_pattern(nn.ModuleDict(dict(fc=layer)))
        {'fc': {'shared': 2, 'depth': 2}}
    """
    return {name: adapter.ranks() for name, adapter in low_rank_adapters(model).items()}


@contextmanager
def all_components(module: nn.Module) -> Iterator[None]:
    """Let an adapter use all its active components, whatever the training step masks."""
    groups = list(getattr(module, 'groups', {}).values())
    kept = [group.prefix for group in groups]
    for group in groups:
        group.prefix = None
    try:
        yield
    finally:
        for group, prefix in zip(groups, kept, strict=True):
            group.prefix = prefix


def pruned_parameters(model: nn.Module) -> int:
    """Trainable numbers of ``model`` that belong to pruned components."""
    return sum(
        (group.rank - active) * group.parameters_per_component
        for adapter in low_rank_adapters(model).values()
        for group in adapter.groups.values()
        if all(p.requires_grad for p in group.parameters.values())
        for active in group.active
    )


def compact(model: nn.Module) -> nn.Module:
    """Give back the room of pruned components in every adapter of ``model``; for inference."""
    for adapter in low_rank_adapters(model).values():
        adapter.compact()
    return model
