"""Cutting the low-rank adapters of a saved run to a smaller rank."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from mtpeft.adapters.ranks.low_rank import RankGroup


def component_axes(groups: Iterable[tuple[str, RankGroup]]) -> list[dict]:
    """Where the components of each stream are in a state dict.

    Args:
        groups: Components, each with the name of its layer.

    Returns:
        ``dict(layer, stream, axes, last)`` a stream: ``axes`` by key of the state dict, and
        ``last``, the key of the factor that a gain multiplies.
    """
    streams = []
    for layer, group in groups:
        for stream in group.streams:
            ending = f'.{stream}' if group.stacked else ''
            keys = {n: f'{layer}.adapter.{n}{ending}' for n in group.factors}
            streams.append(dict(
                layer=layer, stream=stream, last=keys[group.last],
                axes={keys[name]: axis for name, axis in group.factors.items()},
            ))  # fmt: skip
    return streams


def truncate(
    state: Mapping[str, Tensor], components: Iterable[Mapping], rank: int, rescale: bool
) -> tuple[dict[str, Tensor], dict[str, dict[str, int]]]:
    """Keep the first ``rank`` components of every stream.

    Args:
        state: State dict.
        components: Of :func:`component_axes`.
        rank: Components to keep; streams with fewer keep all.
        rescale: Multiply what is kept of r components by r / rank, as DyLoRA does in training.

    Returns:
        The new state dict and the new rank pattern.

    Example:
        >>> import torch
        >>> state = {'fc.adapter.A': torch.ones(4, 3), 'fc.adapter.B': torch.ones(2, 4)}
        >>> axes = {'fc.adapter.A': 0, 'fc.adapter.B': 1}
        >>> stream = dict(layer='fc', stream='shared', axes=axes, last='fc.adapter.B')
        >>> cut, ranks = truncate(state, [stream], rank=1, rescale=True)
        >>> cut['fc.adapter.B'].tolist(), ranks
        ([[4.0], [4.0]], {'fc': {'shared': 1}})
    """
    new = dict(state)
    pattern: dict[str, dict[str, int]] = {}
    for stream in components:
        kept = before = 0
        for key, axis in stream['axes'].items():
            before = state[key].shape[axis]
            kept = min(rank, before)
            new[key] = state[key].narrow(axis, 0, kept)
        if rescale and kept < before:
            new[stream['last']] = new[stream['last']] * (before / kept)
        pattern.setdefault(stream['layer'], {})[stream['stream']] = kept
    return new, pattern
