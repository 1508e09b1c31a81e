"""Each task through the whole network (``streams='network'``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mtpeft.adapters.lanes.block import LANE_STRATEGIES
from mtpeft.adapters.lanes.task_streams import TASK_STRATEGIES
from mtpeft.models.backbones.families import Family, Stage
from mtpeft.utils.requested import positions
from mtpeft.utils.suggest import hint

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone

STREAMS = ('stage', 'network')


def lane_strategy(streams: str, strategy: str | None) -> str:
    """The strategy asked for, or the default of ``streams``.

    Raises:
        ValueError: an unknown one, or one that ``streams`` does not have.
    """
    if streams not in STREAMS:
        raise ValueError(f"streams='{streams}' is unknown. " + hint(str(streams), STREAMS))
    valid = LANE_STRATEGIES if streams == 'stage' else TASK_STRATEGIES
    if strategy is None:
        return valid[0]
    if strategy not in valid:
        where = f" with streams='{streams}'" if strategy in LANE_STRATEGIES else ''
        raise ValueError(f"lane_strategy='{strategy}' is unknown{where}. " + hint(strategy, valid))
    return strategy


def lane_places(family: Family, streams: str) -> list[str]:
    """Names of the modules whose adapters may have task parameters."""
    if streams == 'stage':
        return [stage.lane_block for stage in family.stages if stage.lane_block]
    return [name for stage in family.stages for name in (*stage.blocks, stage.merge) if name]


def check_streams(backbone: 'AdapterBackbone') -> None:
    """Raise ValueError where a network of task streams has no lanes, or tokens."""
    if backbone.streams != 'network':
        return
    if backbone.token_stream is not None:
        raise ValueError(
            'Tokens and prompts that go through the network belong to the shared stream, and '
            "streams='network' has none. Use streams='stage', tokens beside the network "
            "(tokens='free'), or no prompts."
        )
    if not backbone.lanes:
        raise ValueError(
            "streams='network' runs the network once for each task, and no adapter differs "
            "between tasks: give a plugin lanes='task', or use streams='stage'."
        )


def network_levels(
    backbone: 'AdapterBackbone', x: Tensor, wanted: Sequence[str]
) -> dict[str, tuple[Tensor, ...]]:
    """Levels of each ``wanted`` task from the stem's map.

    Up to the first block with task parameters there is one stream for all tasks; from there on
    theirs lie behind one another on the batch axis.
    """
    family, tasks = backbone.family, positions(wanted, backbone.tasks)
    levels, parted = [], False
    for stage in family.stages:
        size = family.size(x)
        family.fit_map(backbone.network, stage, size)
        for name in stage.blocks:
            x, parted = _parted(backbone, name, x, parted, len(wanted))
            x, _ = backbone._run_block(name, x, None, size, tasks)
        if stage.end is not None:
            x = backbone.network.get_submodule(stage.end)(x)
        level, apart = backbone._normed(stage, [x])[0], parted
        if stage.merge is not None:
            x, parted = _parted(backbone, stage.merge, x, parted, len(wanted))
            x = _merged(backbone, stage, x, tasks)
            if backbone.tap == 'post_merge':
                level, apart = x, parted
        level = family.to_nchw(level)
        levels.append(level.chunk(len(wanted)) if apart else [level] * len(wanted))
    return {task: tuple(level[i] for level in levels) for i, task in enumerate(wanted)}


def _parted(
    backbone: 'AdapterBackbone', name: str, x: Tensor, parted: bool, count: int
) -> tuple[Tensor, bool]:
    """A copy of the stream for each task where their parameters begin to differ."""
    if parted or name not in backbone.lanes:
        return x, parted
    return x.repeat(count, *[1] * (x.ndim - 1)), True


def _merged(
    backbone: 'AdapterBackbone', stage: Stage, x: Tensor, tasks: Sequence[int] | None
) -> Tensor:
    lane = backbone.lanes.get(stage.merge)
    if lane is not None:
        return lane(x, tasks)
    return backbone.family.run_merge(backbone.network.get_submodule(stage.merge), x)
