"""One shared stream through the network, and each task's lane through the last block of a stage."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters import Adapter, AdapterLayer, NotMergeableError
from mtpeft.adapters.lanes.block import LANE_STRATEGIES, LaneBlock
from mtpeft.adapters.lanes.current import now
from mtpeft.models.backbones.families import Family, Stage
from mtpeft.models.backbones.streams.base import (
    Streams,
    behind_attention,
    changed_in_place,
    each,
)
from mtpeft.structures.levels import Unreduced, apart
from mtpeft.utils.requested import positions


class StageStreams(Streams):
    """Lanes live in the last block of each stage and leave there (``streams='stage'``).

    Blocks before the last of a stage serve all tasks at once. The last one runs for the shared
    stream and, where adapters have lanes, once for each task
    (:mod:`mtpeft.adapters.lanes.block`). Only the shared stream enters the next stage.
    """

    option = 'stage'
    strategies = LANE_STRATEGIES

    @staticmethod
    def places(family: Family) -> list[str]:
        return [stage.lane_block for stage in family.stages if stage.lane_block]

    def make_block(self, name: str, block: nn.Module, run: Callable, strategy: str) -> LaneBlock:
        # tokens in the windows would have to be taken out again
        behind = behind_attention(self.family, block) if self.tokens is None else None
        copied = changed_in_place(self.family, block)
        return LaneBlock(block, self.tasks, run, strategy, copied, behind)

    def levels(
        self, x: Tensor, wanted: Sequence[str], unreduced: bool = False
    ) -> dict[str, tuple[Tensor, ...]] | tuple[Tensor, ...]:
        tasks = positions(wanted, self.tasks)
        x, tokens = (x, None) if self.tokens is None else self.tokens.start(x)
        levels = []
        for index, stage in enumerate(self.family.stages):
            if tokens is not None:
                tokens = self.tokens.enter(index, tokens)
            x, taps, tokens = self.stage(stage, x, tokens, tasks, unreduced)
            # of lanes, where the stage has any, nobody reads the shared stream beside them
            taps = taps[1:] or taps
            levels.append([t if isinstance(t, Unreduced) else self.family.to_nchw(t) for t in taps])
        if not self.tasks:
            return tuple(level[0] for level in levels)
        return {
            task: tuple(level[i if len(level) > 1 else 0] for level in levels)
            for i, task in enumerate(wanted)
        }

    def stage(
        self,
        stage: Stage,
        x: Tensor,
        tokens: Tensor | None,
        tasks: Sequence[int] | None,
        unreduced: bool = False,
    ) -> tuple[Tensor, list[Tensor | Unreduced], Tensor | None]:
        """The shared stream for the next stage, the tapped streams (shared, then lanes), tokens."""
        now.size = self.family.size(x)
        lanes = None
        for name in stage.blocks:
            out, tokens = self._block(name, x, tokens, tasks)
            x, lanes = out if name in self.lanes else (out, lanes)
        streams = [x] if lanes is None else [x, *lanes]
        if stage.end is not None:
            streams = each(self.network.get_submodule(stage.end), streams)
            x = streams[0]
        if stage.merge is None:
            return x, self.normed(stage, streams), tokens
        merge = self.network.get_submodule(stage.merge)
        if self.tap == 'pre_merge':
            return self.family.run_merge(merge, x), self.normed(stage, streams), tokens
        # behind a stage's end the lanes no longer lie behind one another: joining would copy them
        joins = unreduced and lanes is not None and stage.end is None
        weight = _reduction_weight(self.family.reduction(merge)) if joins else None
        if weight is not None:
            x, rows = self.family.run_merge(merge, x), self._before_reduction(merge, lanes)
            return x, [x, *(Unreduced(r, weight) for r in rows)], tokens
        merged = apart(self.family.run_merge(merge, torch.cat(streams)), len(streams))
        return merged[0], list(merged), tokens

    def _block(
        self, name: str, x: Tensor, tokens: Tensor | None, tasks: Sequence[int] | None
    ) -> tuple[Any, Tensor | None]:
        """One block, with lanes or without: ``x`` or ``(x, lanes)``, and the tokens after it."""
        block, lane = self.network.get_submodule(name), self.lanes.get(name)
        run = partial(lane, tasks=tasks) if lane else partial(self.family.run_block, block)
        last = name == self.family.stages[-1].blocks[-1]
        if self.tokens is None:
            return self.call(partial(run, shared=False) if lane and last else run, x), None
        x, tokens = self.tokens.before(name, x, tokens)
        if tokens is None:
            return self.call(run, x), None
        copies = lane.copies(tasks) if lane else 1
        return self.call(
            lambda x, tokens: self.tokens.run(run, block, x, tokens, copies, last), x, tokens
        )

    def _before_reduction(
        self, merge: nn.Module, lanes: Tensor | Sequence[Tensor]
    ) -> Sequence[Tensor]:  # fmt: skip
        if isinstance(lanes, Tensor):
            return apart(self.family.before_reduction(merge, lanes.flatten(0, 1)), len(lanes))
        return [self.family.before_reduction(merge, lane) for lane in lanes]

    def idle_adapters(self) -> list[Adapter]:
        """Those at the end of the last lane block: nobody reads the shared stream there."""
        stages = self.family.stages
        last = self.lanes.get(stages[-1].lane_block) if stages else None
        return last.unread_adapters() if last else []

    def runs_twice(self, name: str) -> bool:
        return name.startswith(tuple(f'{lane}.' for lane in self.lanes))

    def check_merge(self, task: str | None) -> None:
        if task is not None:
            raise NotMergeableError(
                f"The lane of '{task}' exists in the last block of each stage only, so no plain "
                "network is it; task=None merges the shared path. streams='network' has one for "
                'each task.'
            )


def _reduction_weight(layer: nn.Module | None) -> Tensor | None:
    """Weight of the patch merging's linear map, ``None`` where it cannot be joined."""
    if not isinstance(layer, AdapterLayer):
        return None if layer is None else layer.weight
    return None if layer.adapter.tasks else layer.adapter.stream_weight(layer)
