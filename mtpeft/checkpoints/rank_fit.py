"""Whether the adapters of a model have room for the ranks in a file."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import SHARED, RankGroup, low_rank_adapters

_SHOWN = 4


class RankMisfit(NamedTuple):
    """A stream of an adapter with more components in a file than the model has room for."""

    layer: str
    stream: str
    rank: int
    room: int


def rank_misfits(model: nn.Module, state: Mapping[str, Tensor]) -> list[RankMisfit]:
    """The streams whose factors fit but for a higher rank."""
    misfits = []
    for layer, adapter in low_rank_adapters(model).items():
        for group in adapter.groups.values():
            for index, stream in enumerate(group.streams):
                rank = _rank_in(state, layer, group, index)
                if rank is not None and rank > group.rank:
                    misfits.append(RankMisfit(layer, stream, rank, group.rank))
    return misfits


def _rank_in(
    state: Mapping[str, Tensor], layer: str, group: RankGroup, index: int
) -> int | None:  # fmt: skip
    """Rank of a stream in a file, ``None`` where its factors differ in anything else."""
    ranks = set()
    for name, axis in group.factors.items():
        key = f'{layer}.adapter.{name}' + (f'.{group.streams[index]}' if group.stacked else '')
        own = group.parameters[name].shape[group.stacked :]
        found = state[key].shape if key in state else ()
        if len(found) != len(own) or _without(found, axis) != _without(own, axis):
            return None
        ranks.add(found[axis])
    return ranks.pop() if len(ranks) == 1 else None


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def higher_ranks(what: str, misfits: Sequence[RankMisfit]) -> str:
    """Says which streams lack room, and how to make it."""
    lines = [
        f"{m.layer}, stream '{m.stream}': rank {m.rank} in the file, at most {m.room} in the model"
        for m in misfits[:_SHOWN]
    ]
    rest = len(misfits) - _SHOWN
    lines += [f'and {rest} more'] if rest > 0 else []
    needed: dict[str, int] = {}
    for misfit in misfits:
        option = 'rank' if misfit.stream == SHARED else 'task_rank'
        needed[option] = max(misfit.rank, needed.get(option, 0))
    options = ' and '.join(f'{name}={rank}' for name, rank in needed.items())
    return (
        f'{what} has adapters of a higher rank than the model was made with:\n  '
        + '\n  '.join(lines)
        + '\nUse the config it was trained with (it lies beside the checkpoint, and in its '
        f"meta['cfg']), or set {options} in the cfg of the plugin (model.backbone.plugins)."
    )
