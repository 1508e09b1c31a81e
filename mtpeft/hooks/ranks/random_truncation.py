"""Using only the first components of each stream, as many as are drawn for a step."""

from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner

from mtpeft.utils.suggest import hint

SCOPES = ('adapter', 'step')


class RandomTruncation:
    """Mixin of a :class:`~mtpeft.hooks.ranks.rank_allocator.RankAllocatorHook`.

    For every optimizer step it draws how many components of each stream are used; what is drawn
    depends on (seed, first iteration of the step) alone. :meth:`lengths` is the distribution,
    uniform over 1 to the active rank by default.

    Attributes:
        scope: What shares a draw: nothing but the stream of one ``'adapter'``, or all of one
            ``'step'`` (each at the same share of its rank).
    """

    scope = 'adapter'

    def check_scope(self) -> None:
        """Raises ``ValueError`` for an unknown scope."""
        if self.scope not in SCOPES:
            raise ValueError(f"scope='{self.scope}' is unknown. " + hint(str(self.scope), SCOPES))

    def lengths(self, share: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Lengths ``(n,)`` of streams with ``active`` components, for uniform ``share`` in [0, 1).

        Args:
            share: ``(n,)``, or ``(1,)`` for all.
            active: ``(n,)``.
        """
        return 1 + np.floor(share * active).astype(np.int64)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # one draw for all pictures that make one step, however they are split
        counts = runner.optim_wrapper._accumulative_counts
        self.draw(runner.iter - runner.iter % counts)

    def draw(self, step: int) -> None:
        """Draw how many components of each stream are used; depends on (seed, step) alone."""
        active = np.concatenate([tracked.group.active for tracked in self.tracked])
        generator = np.random.default_rng((self._seed, step))
        share = generator.random(1 if self.scope == 'step' else len(active))
        drawn = torch.from_numpy(self.lengths(share, active)).to(self._device)
        start = 0
        for tracked in self.tracked:
            end = start + len(tracked.group.streams)
            tracked.group.prefix = drawn[start:end]
            start = end

    def use_all(self) -> None:
        """Let the next steps use all active components."""
        for tracked in self.tracked:
            tracked.group.prefix = None

    def after_train(self, runner: Runner) -> None:
        self.use_all()
