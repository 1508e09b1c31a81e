"""Each task through the whole network."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from mtpeft.adapters import NotMergeableError
from mtpeft.adapters.lanes.current import now
from mtpeft.adapters.lanes.task_streams import TASK_STRATEGIES, TaskStreamBlock
from mtpeft.models.backbones.families import Family
from mtpeft.models.backbones.streams.base import Streams, changed_in_place
from mtpeft.structures.levels import apart
from mtpeft.utils.requested import positions


class NetworkStreams(Streams):
    """Every task has a stream from the first block with task parameters on (``'network'``).

    Up to there one stream serves all tasks; then theirs lie behind one another on the batch axis.

    Raises:
        ValueError: no adapter differs between tasks, or tokens go through the network.
    """

    option = 'network'
    strategies = TASK_STRATEGIES
    shares = False

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.tokens is not None:
            raise ValueError(
                'Tokens and prompts that go through the network belong to the shared stream, and '
                "streams='network' has none. Use streams='stage', tokens beside the network "
                "(tokens='free'), or no prompts."
            )
        if not self.lanes:
            raise ValueError(
                "streams='network' runs the network once for each task, and no adapter differs "
                "between tasks: give a plugin lanes='task', or use streams='stage'."
            )

    @staticmethod
    def places(family: Family) -> list[str]:
        return [name for stage in family.stages for name in (*stage.blocks, stage.merge) if name]

    def make_block(
        self, name: str, block: nn.Module, run: Callable, strategy: str
    ) -> TaskStreamBlock:  # fmt: skip
        copied = changed_in_place(self.family, block)
        return TaskStreamBlock(block, self.tasks, run, strategy, copied)

    def levels(
        self, x: Tensor, wanted: Sequence[str], unreduced: bool = False
    ) -> dict[str, tuple[Tensor, ...]]:
        family, tasks = self.family, positions(wanted, self.tasks)
        levels, parted = [], False
        for stage in family.stages:
            now.size = family.size(x)
            for name in stage.blocks:
                x, parted = self._parted(name, x, parted, len(wanted))
                x = self.call(self._passing(name, family.run_block, tasks), x)
            if stage.end is not None:
                x = self.network.get_submodule(stage.end)(x)
            level, own = self.normed(stage, [x])[0], parted
            if stage.merge is not None:
                x, parted = self._parted(stage.merge, x, parted, len(wanted))
                x = self._passing(stage.merge, family.run_merge, tasks)(x)
                if self.tap == 'post_merge':
                    level, own = x, parted
            level = family.to_nchw(level)
            levels.append(apart(level, len(wanted)) if own else [level] * len(wanted))
        return {task: tuple(level[i] for level in levels) for i, task in enumerate(wanted)}

    def _parted(self, name: str, x: Tensor, parted: bool, count: int) -> tuple[Tensor, bool]:
        """A copy of the stream for each task where their parameters begin to differ."""
        if parted or name not in self.lanes:
            return x, parted
        return x.repeat(count, *[1] * (x.ndim - 1)), True

    def _passing(
        self, name: str, run: Callable, tasks: Sequence[int] | None
    ) -> Callable[[Tensor], Tensor]:  # fmt: skip
        """What passes the module ``name``."""
        lane = self.lanes.get(name)
        module = self.network.get_submodule(name)
        return partial(lane, tasks=tasks) if lane else partial(run, module)

    def check_merge(self, task: str | None) -> None:
        if task is None:
            raise NotMergeableError(
                "With streams='network' each task has a network of its own; name one: "
                f'task={" | ".join(map(repr, self.tasks))}.'
            )
