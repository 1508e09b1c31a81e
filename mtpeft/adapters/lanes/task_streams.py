"""Run one block for every task, each on a stream of its own and without a shared one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtpeft.adapters.lanes.block import LaneBlock
from mtpeft.adapters.lanes.current import within
from mtpeft.adapters.lanes.passes import TaskPass
from mtpeft.structures.levels import apart

TASK_STRATEGIES = ('fold', 'loop')


class TaskStreamBlock(LaneBlock):
    """A block that every task's stream passes with its own parameters.

    Streams lie behind one another on the batch axis, ``(T B, ...)`` in and out: those of all tasks,
    or of the tasks that are asked for. Layers without task parameters serve all of them alike.

    Args:
        strategy: ``'fold'``: the block runs once; ``'loop'``: once for each task.
        Others: as :class:`~mtpeft.adapters.lanes.block.LaneBlock`.
    """

    def __call__(self, x: Tensor, tasks: Sequence[int] | None = None) -> Tensor:
        tasks = range(len(self.tasks)) if tasks is None else tasks
        params = {m: m.adapter.lane_slices(m) for m in self.task_layers.values()}
        if self.strategy == 'fold':
            with within(stream=TaskPass(params, tasks)):
                return self.run(self.block, x)
        out = []
        for index, x_t in zip(tasks, apart(x, len(tasks)), strict=True):
            with within(stream=TaskPass(params, [index])):
                out.append(self.run(self.block, x_t))
        return torch.cat(out)

    def copies(self, tasks: Sequence[int] | None = None) -> int:
        return 1
