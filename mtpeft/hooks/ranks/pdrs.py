"""Performance-driven rank shrinking (FAAR, arXiv 2603.20403)."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import COMMON, RankGroup
from mtpeft.adapters.ranks.scores import coverage_rank, directional_scores, order_by_score
from mtpeft.hooks.ranks.pdrs_options import check_options
from mtpeft.hooks.ranks.pdrs_state import Scored
from mtpeft.hooks.ranks.random_truncation import RandomTruncation
from mtpeft.hooks.ranks.rank_allocator import RankAllocatorHook
from mtpeft.registry import HOOKS
from mtpeft.utils.kinds import Count, Index, Positive, Share
from mtpeft.utils.suggest import hint

# what scores are cut to where their median is 0
_LEAST = 1e-12


@HOOKS.register_module()
class PDRSHook(RandomTruncation, RankAllocatorHook):
    r"""Shrinks the rank of every low-rank adapter, shared or of a task, by its effect on the loss.

    *Random truncation.* For every optimiser step and each stream of each adapter, a length
    :math:`b \sim U\{1..r\}` is drawn, and only the first b of the r active components are used.
    Evaluation uses all active ones. With ``truncate='while_shrinking'`` training does too, from the
    last shrinking on.

    *Scores.* At every optimiser step, from the gradients of the whole loss (all processes, without
    loss scale, before clipping), each component gets its directional derivative
    (:func:`~mtpeft.adapters.ranks.scores.directional_scores`), averaged over time:
    :math:`\hat s \leftarrow \beta \hat s + (1 - \beta) s`.

    *Shrinking.* After an epoch, each stream keeps its K + ``margin`` best components, K the least
    number that covers the share rho of all scores, the best first; the others are pruned for ever.
    Factors, gradients, optimizer moments, averages and an EMA copy are sorted alike, and all that
    belongs to pruned components becomes 0. A stream whose scores sum to 0 (an adapter without
    effect) keeps its rank. The first process decides for all.

    The published rule prunes even components that are all equally useful, since later ones are used
    less: the rank falls each epoch to a fixed point that rho and ``margin`` alone decide, 5 for .95
    and 0, 10 for .95 and 1. ``debias=True`` takes that out. With a ``margin`` of 1, as in the
    released code, the size that the paper prints is met. See docs/methods/faar.md.

    What it draws depends on (seed, iteration) alone, and its averages are in the checkpoint: a
    resumed run is the same as an uninterrupted one. Checkpoints say in ``meta['rank_pattern']``
    which rank each layer and stream has, and hold the history in ``pdrs``.

    Args:
        rho: Share of the scores to keep, in (0, 1].
        rho_shared: The same for shared paths and for a base that all lanes share. Default: ``rho``.
        rho_task: The same for tasks, one number or one by task. Default: ``rho``.
        beta: Decay of the averages, in [0, 1).
        min_rank: No stream falls below this rank (unless its adapter was made with less).
        margin: Components kept beyond K. With 1 no stream falls below 2.
        start_epoch: No shrinking in the first epochs; components are scored all the same.
        shrink_every: Epochs from one shrinking to the next.
        shrink_until: Last epoch with a shrinking. ``None``: to the end.
        by_epoch: ``False`` counts the three above in iterations, as an iteration-based loop needs.
        shrinks: Instead of the four above: so many shrinkings, evenly within the first ``until`` of
            the training. For short runs: of the paper's 300 epochs, about the first 15 shrink.
        until: Share of the training in which these are, in (0, 1].
        truncate: Train truncated to the end, ``'always'``, as the paper has it, or
            ``'while_shrinking'``: up to the last shrinking, behind which nothing is scored.
        debias: Divide each average score by how often the component was in use.
        scope: What shares a draw of b: nothing but the stream of one ``'adapter'``, or all of one
            ``'step'`` (each at the same share of its rank).
        clamp: Cut each step's scores at so many times their median over all components that the
            stream was made with. The released code does, at 100. Pruned components and those
            behind b count as 0 there, so where they are the greater half all scores are cut to the
            same tiny number, and an average says how often a component was in use. ``None``: no
            cut.

    Raises:
        ValueError: an option is out of its range; ``shrinks`` comes with an option that it
            replaces; the model has no low-rank adapter, or none for a
            task that ``rho_task`` names.

    Example:
        >>> PDRSHook(rho=0.95, rho_task=dict(depth=0.9)).rho_of('depth')
        0.9
    """

    state_key = 'pdrs'

    def __init__(
        self,
        rho: Share = 0.95,
        rho_shared: Share | None = None,
        rho_task: Share | Mapping[str, Share] | None = None,
        beta: Share = 0.98,
        min_rank: Count = 1,
        margin: Index = 1,
        start_epoch: Index = 0,
        shrink_every: Count = 1,
        shrink_until: Index | None = None,
        by_epoch: bool = True,
        shrinks: Count | None = None,
        until: Share = 1 / 3,
        truncate: Literal['always', 'while_shrinking'] = 'always',
        debias: bool = False,
        scope: Literal['adapter', 'step'] = 'adapter',
        clamp: Positive | None = None,
    ) -> None:
        super().__init__()
        self.rho = rho
        self.rho_shared = rho if rho_shared is None else rho_shared
        self.rho_task = rho if rho_task is None else rho_task
        self.beta = beta
        self.min_rank = min_rank
        self.margin = margin
        self.start_epoch = start_epoch
        self.shrink_every = shrink_every
        self.shrink_until = shrink_until
        self.by_epoch = by_epoch and shrinks is None
        self.shrinks = shrinks
        self.until = until
        self.truncate = truncate
        self.debias = debias
        self.clamp = clamp
        self.scope = scope
        check_options(vars(self))
        self.check_scope()

    def rho_of(self, stream: str) -> float:
        """The share for ``'shared'``, for a ``'base'`` that all tasks share, or for a task."""
        if stream in COMMON:
            return self.rho_shared
        if isinstance(self.rho_task, Mapping):
            return self.rho_task.get(stream, self.rho)
        return self.rho_task

    # -- start and resume ------------------------------------------------------------------------

    @property
    def scored(self) -> list[Scored]:
        """What was seen of each group of components."""
        return self.tracked

    @scored.setter
    def scored(self, scored: list[Scored]) -> None:
        self.tracked = scored

    def start(self, runner: Runner) -> None:
        if self.shrinks is not None:
            # (a third of 990 must not be 329)
            steps = math.floor(self.until * runner.max_iters + 1e-6)
            self.shrink_every = max(1, steps // self.shrinks)
            self.shrink_until = self.shrinks * self.shrink_every

    def track(self, layer: str, group: RankGroup) -> Scored:
        return Scored.of(layer, group)

    def check_model(self, runner: Runner) -> None:
        known = {s: None for scored in self.scored for s in scored.group.streams}
        if isinstance(self.rho_task, Mapping):
            for task in self.rho_task:
                if task not in known or task in COMMON:
                    for stream in COMMON:
                        known.pop(stream, None)
                    raise ValueError(
                        f"rho_task names '{task}', which has no low-rank adapter of its own. "
                        + (hint(task, known) if known else "No plugin has lanes='task'.")
                    )

    def state(self) -> dict:
        return dict(
            scores={
                s.key: dict(score=s.score.cpu(), activity=s.activity.cpu()) for s in self.scored
            },
        )

    def restore(self, state: Mapping) -> None:
        for scored in self.scored:
            saved = state['scores'].get(scored.key)
            if saved is None or saved['score'].shape != scored.score.shape:
                raise self.misfit(
                    scored.layer, f'scores of shape {tuple(scored.score.shape)}',
                    None if saved is None else tuple(saved['score'].shape),
                )  # fmt: skip
            scored.score.copy_(saved['score'])
            scored.activity.copy_(saved['activity'])

    # -- truncation and scores -------------------------------------------------------------------

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        time = runner.epoch if self.by_epoch else runner.iter
        if self.truncate == 'while_shrinking' and time >= self._last:
            self.use_all()
        else:
            super().before_train_iter(runner, batch_idx, data_batch)

    def observe(self) -> None:
        self._score()

    @torch.no_grad()
    def _score(self) -> None:
        seen = [(scored, values) for scored in self.scored
                if (values := self.measure(scored.group)) is not None]  # fmt: skip
        if not seen or seen[0][0].group.prefix is None:
            return
        finite = torch.stack([values.sum() for _, values in seen]).isfinite().all()
        finite &= ~self.overflow
        self.skipped += ~finite
        for scored, values in seen:
            group = scored.group
            components = torch.arange(group.rank, device=values.device)
            used = (components < group.prefix[:, None]).to(values.dtype)
            averages = scored.score, scored.activity
            for old, new in zip(averages, self.update(scored, values, used), strict=True):
                # decided on the device: a step must not wait for the host
                old.copy_(torch.where(finite, new, old))

    def measure(self, group: RankGroup) -> Tensor | None:
        """What a step says of each component, ``(S, rank)``; ``None`` without gradients."""
        scores = directional_scores(group)
        if scores is None or self.clamp is None:
            return scores
        highest = self.clamp * scores.median(1, keepdim=True).values + _LEAST
        return scores.minimum(highest)

    def update(self, scored: Scored, values: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        """Score and activity after a step that gave ``values`` of the ``used`` components."""
        beta = self.beta
        score = beta * scored.score + (1 - beta) * values
        return score, beta * scored.activity + (1 - beta) * used

    # -- shrinking -------------------------------------------------------------------------------

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and self._due(runner.epoch + 1):
            self.shrink(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if not self.by_epoch and self._due(runner.iter + 1):
            self.shrink(runner)

    def _due(self, time: int) -> bool:
        past = time - self.start_epoch
        return past > 0 and past % self.shrink_every == 0 and time <= self._last

    @property
    def _last(self) -> float:
        return math.inf if self.shrink_until is None else self.shrink_until

    def shrink(self, runner: Runner) -> None:
        """Keep the best components of every stream."""
        self.prune(runner, lambda: self.decide(runner))

    def decide(self, runner: Runner) -> list[list[Tensor]]:
        """The components to keep of each group and stream, the best first."""
        return [
            [self.select(scored, index) for index in range(len(scored.group.streams))]
            for scored in self.scored
        ]

    def select(self, scored: Scored, index: int) -> Tensor:
        """The components of one stream to keep, the best first, ``(k,)``."""
        group, active = scored.group, scored.group.active[index]
        scores = scored.score[index, :active].double()
        if self.debias:
            scores = scored.debiased(index)[:active].double()
        if not scores.sum() > 0:
            return torch.arange(active)
        rank = coverage_rank(scores, self.rho_of(group.streams[index])) + self.margin
        return order_by_score(scores)[: max(rank, self.min_rank)]
