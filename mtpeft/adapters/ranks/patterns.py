"""Rank patterns, ``{layer: {'shared' or task: rank}}`` as checkpoints hold them, in figures."""

import re
from collections.abc import Collection, Mapping
from statistics import fmean

from torch import nn

from mtpeft.adapters.ranks.low_rank import COMMON, low_rank_adapters, rank_pattern

RankPattern = Mapping[str, Mapping[str, int]]


def streams_of(pattern: RankPattern) -> list[str]:
    """``'shared'`` and ``'base'`` where there are such, then the tasks in their order."""
    names = {stream: None for ranks in pattern.values() for stream in ranks}
    return [*(s for s in COMMON if s in names), *(s for s in names if s not in COMMON)]


def ranks_of(pattern: RankPattern, *streams: str) -> list[int]:
    """All ranks, or those of ``streams``."""
    return [
        rank for ranks in pattern.values() for stream, rank in ranks.items()
        if not streams or stream in streams
    ]  # fmt: skip


def mean_rank(pattern: RankPattern, *streams: str) -> float | None:
    """Mean over layers and streams; ``None`` where there is none.

    Example:
        >>> pattern = {'fc1': {'shared': 4, 'depth': 2}, 'fc2': {'shared': 3}}
        >>> mean_rank(pattern), mean_rank(pattern, 'shared'), mean_rank(pattern, 'edge')
        (3.0, 3.5, None)
    """
    ranks = ranks_of(pattern, *streams)
    return fmean(ranks) if ranks else None


def idle_streams(model: nn.Module) -> dict[str, list[str]]:
    """Streams whose parameters have no effect on the output, by layer.

    They are those that modules declare (``unused_parameter_names()``), such as the shared path of
    the last block where every task has a lane. Nothing is known of their rank: it stays.
    """
    unused = {
        f'{prefix}.{name}' if prefix else name
        for prefix, module in model.named_modules()
        if hasattr(module, 'unused_parameter_names')
        for name in module.unused_parameter_names()
    }
    idle: dict[str, list[str]] = {}
    for layer, adapter in low_rank_adapters(model).items():
        for group in adapter.groups.values():
            if all(f'{layer}.adapter.{name}' in unused for name in group.factors):
                idle.setdefault(layer, []).extend(group.streams)
    return idle


def without_idle(pattern: RankPattern, idle: Mapping[str, Collection[str]]) -> RankPattern:
    """The pattern without the streams of :func:`idle_streams`; every layer stays.

    Example:
        >>> without_idle({'fc': {'shared': 4, 'depth': 2}}, {'fc': ['shared']})
        {'fc': {'depth': 2}}
    """
    return {
        layer: {s: rank for s, rank in ranks.items() if s not in idle.get(layer, ())}
        for layer, ranks in pattern.items()
    }


def mean_rank_in_use(model: nn.Module) -> float | None:
    """Mean over the streams of ``model`` that have an effect; ``None`` where there is none."""
    return mean_rank(without_idle(rank_pattern(model), idle_streams(model)))


def describe_ranks(pattern: RankPattern, idle: Mapping[str, Collection[str]]) -> str:
    """Means in words, without idle streams.

    Example:
        >>> describe_ranks({'fc1': {'shared': 4, 'depth': 2}, 'fc2': {'shared': 3}}, {})
        'mean rank 3.00 (shared 3.50, tasks 2.00) of 3 streams in 2 layers'
    """
    used = without_idle(pattern, idle)
    streams = streams_of(used)
    kinds = {s: [s] for s in streams if s in COMMON}
    kinds['tasks'] = [s for s in streams if s not in COMMON]
    means = {kind: mean_rank(used, *names) for kind, names in kinds.items() if names}
    shown = ', '.join(f'{kind} {mean:.2f}' for kind, mean in means.items())
    left_out = sum(map(len, idle.values()))
    return (
        f'mean rank {mean_rank(used) or 0:.2f} ({shown}) of {len(ranks_of(used))} streams in '
        f'{len(pattern)} layers' + (f'; {left_out} more have no effect' if left_out else '')
    )


def by_stage(pattern: RankPattern) -> dict[str, dict[str, Mapping[str, int]]]:
    """The pattern of each stage, layers named within it.

    A stage is what a name has up to its first number, without what all layers share; layers that
    have none are under their first word.

    Example:
        >>> by_stage({'net.layers.0.blocks.0.fc1': {'shared': 2}, 'net.stem.conv': {'shared': 1}})
        {'layers.0': {'blocks.0.fc1': {'shared': 2}}, 'stem': {'conv': {'shared': 1}}}
    """
    prefix = _common_words(list(pattern))
    stages: dict[str, dict[str, Mapping[str, int]]] = {}
    for layer, ranks in pattern.items():
        stage, rest = _split(layer.removeprefix(prefix))
        stages.setdefault(stage, {})[rest] = ranks
    return stages


def _split(name: str) -> tuple[str, str]:
    found = re.match(r'(?:[^\W\d]\w*\.)*\d+(?=\.)', name)
    stage = found[0] if found else name.split('.')[0]
    return stage, name[len(stage) + 1 :] or stage


def _common_words(names: list[str]) -> str:
    """Words that all names begin with, up to the word before a number or the last."""
    words = [name.split('.') for name in names]
    shortest = min(map(len, words))
    common = 0
    while common + 1 < shortest and len({tuple(w[: common + 1]) for w in words}) == 1:
        if any(w[common + 1].isdigit() for w in words):
            break
        common += 1
    return ''.join(f'{word}.' for word in words[0][:common])
