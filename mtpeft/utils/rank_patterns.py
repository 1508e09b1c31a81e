"""Rank patterns, ``{layer: {'shared' or task: rank}}`` as checkpoints hold them, in figures."""

import re
from collections.abc import Mapping
from statistics import fmean

from mtpeft.adapters.ranks import SHARED

RankPattern = Mapping[str, Mapping[str, int]]


def streams_of(pattern: RankPattern) -> list[str]:
    """``'shared'`` where there is a shared path, then the tasks in their order."""
    names = {stream: None for ranks in pattern.values() for stream in ranks}
    return sorted(names, key=lambda stream: stream != SHARED)


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


def describe_ranks(pattern: RankPattern) -> str:
    """Means in words.

    Example:
        >>> describe_ranks({'fc1': {'shared': 4, 'depth': 2}})
        'mean rank 3.00 (shared 4.00, tasks 2.00) over 1 layer and 2 streams'
    """
    streams = streams_of(pattern)
    tasks = [stream for stream in streams if stream != SHARED]
    parts = {'shared': [SHARED] if SHARED in streams else [], 'tasks': tasks}
    means = ', '.join(f'{k} {mean_rank(pattern, *v):.2f}' for k, v in parts.items() if v)
    layers = f'{len(pattern)} layer{"s" if len(pattern) > 1 else ""}'
    count = len(ranks_of(pattern))
    return (
        f'mean rank {mean_rank(pattern):.2f} ({means}) over {layers} and '
        f'{count} stream{"s" if count > 1 else ""}'
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
    while common + 2 < shortest and len({tuple(w[: common + 1]) for w in words}) == 1:
        if any(w[common + 1].isdigit() for w in words):
            break
        common += 1
    return ''.join(f'{word}.' for word in words[0][:common])
