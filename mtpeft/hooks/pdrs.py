"""Performance-driven rank shrinking (FAAR, arXiv 2603.20403)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.adapters.rank_scores import coverage_rank, directional_scores, order_by_score
from mtpeft.adapters.ranks import (
    COMMON,
    LowRankAdapter,
    RankGroup,
    low_rank_adapters,
    rank_pattern,
)  # fmt: skip
from mtpeft.hooks.checkpoint_hook import make_compact
from mtpeft.hooks.pdrs_report import record, report
from mtpeft.hooks.pdrs_state import Scored, averaged_copies, refresh_averages, sorted_alike
from mtpeft.registry import ADAPTERS, HOOKS
from mtpeft.utils.model_state import unwrap
from mtpeft.utils.suggest import hint

_STATE = 'pdrs'
_SCOPES = ('adapter', 'step')


@HOOKS.register_module()
class PDRSHook(Hook):
    r"""Shrinks the rank of every low-rank adapter, shared or of a task, by its effect on the loss.

    *Random truncation.* For every optimiser step and each stream of each adapter, a length
    :math:`b \sim U\{1..r\}` is drawn, and only the first b of the r active components are used.
    Evaluation uses all active ones.

    *Scores.* At every optimiser step, from the gradients of the whole loss (all processes, without
    loss scale, before clipping), each component gets its directional derivative
    (:func:`~mtpeft.adapters.rank_scores.directional_scores`), averaged over time:
    :math:`\hat s \leftarrow \beta \hat s + (1 - \beta) s`.

    *Shrinking.* After an epoch, each stream keeps its K best components, K the least number that
    covers the share rho of all scores, the best first; the others are pruned for ever. Factors,
    gradients, optimizer moments, averages and an EMA copy are sorted alike, and all that belongs to
    pruned components becomes 0. A stream whose scores sum to 0 (an adapter without effect) keeps
    its rank. The first process decides for all.

    The published rule prunes even components that are all equally useful, since later ones are used
    less: the rank falls each epoch to a fixed point that rho alone decides (5 for .95).
    ``debias=True`` takes that out. See docs/methods/faar.md.

    What it draws depends on (seed, iteration) alone, and its averages are in the checkpoint: a
    resumed run is the same as an uninterrupted one. Checkpoints say in ``meta['rank_pattern']``
    which rank each layer and stream has, and hold the history in ``pdrs``.

    Args:
        rho: Share of the scores to keep, in (0, 1].
        rho_shared: The same for shared paths and for a base that all lanes share. Default: ``rho``.
        rho_task: The same for tasks, one number or one by task. Default: ``rho``.
        beta: Decay of the averages, in [0, 1).
        min_rank: No stream falls below this rank (unless its adapter was made with less).
        margin: Components kept beyond K.
        start_epoch: No shrinking in the first epochs; components are scored all the same.
        shrink_every: Epochs from one shrinking to the next.
        shrink_until: Last epoch with a shrinking. ``None``: to the end.
        by_epoch: ``False`` counts the three above in iterations, as an iteration-based loop needs.
        debias: Divide each average score by how often the component was in use.
        scope: What shares a draw of b: nothing but the stream of one ``'adapter'``, or all of one
            ``'step'`` (each at the same share of its rank).

    Raises:
        ValueError: an option is out of its range; the model has no low-rank adapter, or none for a
            task that ``rho_task`` names.

    Example:
        >>> PDRSHook(rho=0.95, rho_task=dict(depth=0.9)).rho_of('depth')
        0.9
    """

    # after an EMA hook, whose copy goes into the checkpoint, and before what saves it
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        rho: float = 0.95,
        rho_shared: float | None = None,
        rho_task: float | Mapping[str, float] | None = None,
        beta: float = 0.98,
        min_rank: int = 1,
        margin: int = 0,
        start_epoch: int = 0,
        shrink_every: int = 1,
        shrink_until: int | None = None,
        by_epoch: bool = True,
        debias: bool = False,
        scope: str = 'adapter',
    ) -> None:
        self.rho = rho
        self.rho_shared = rho if rho_shared is None else rho_shared
        self.rho_task = rho if rho_task is None else rho_task
        self.beta = beta
        self.min_rank = min_rank
        self.margin = margin
        self.start_epoch = start_epoch
        self.shrink_every = shrink_every
        self.shrink_until = shrink_until
        self.by_epoch = by_epoch
        self.debias = debias
        self.scope = scope
        self._check_options()
        self.scored: list[Scored] = []
        self.history: list[dict] = []
        self._pending: dict | None = None
        self._seed = 0

    def _check_options(self) -> None:
        shares = self.rho_task if isinstance(self.rho_task, Mapping) else dict(task=self.rho_task)
        shares = {'rho': self.rho, 'rho_shared': self.rho_shared,
                  **{f'rho_task[{name}]': rho for name, rho in shares.items()}}  # fmt: skip
        for name, rho in shares.items():
            if not isinstance(rho, int | float) or not 0 < rho <= 1:
                raise ValueError(f'Expected {name} in (0, 1], a share of the scores, got {rho!r}.')
        if not 0 <= self.beta < 1:
            raise ValueError(f'Expected beta in [0, 1), got {self.beta!r}.')
        least = dict(min_rank=1, margin=0, start_epoch=0, shrink_every=1)
        if self.shrink_until is not None:
            least['shrink_until'] = 0
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f'Expected {name} to be an integer from {low} on, got {value!r}.')
        if self.scope not in _SCOPES:
            raise ValueError(f"scope='{self.scope}' is unknown. " + hint(str(self.scope), _SCOPES))

    def rho_of(self, stream: str) -> float:
        """The share for ``'shared'``, for a ``'base'`` that all tasks share, or for a task."""
        if stream in COMMON:
            return self.rho_shared
        if isinstance(self.rho_task, Mapping):
            return self.rho_task.get(stream, self.rho)
        return self.rho_task

    # -- start and resume ------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        self.scored = [
            Scored.of(layer, group)
            for layer, adapter in low_rank_adapters(model).items()
            for group in adapter.groups.values()
        ]
        self._check_model()
        self.skipped = torch.zeros((), dtype=torch.long, device=self._device)
        seed = torch.tensor([runner.seed or 0], dtype=torch.long, device=self._device)
        broadcast(seed)
        self._seed = int(seed)
        self.history = [record(runner)]
        if self._pending is not None:
            self._restore(self._pending)
            self._pending = None
        refresh_averages(runner)
        self._watch(runner.optim_wrapper)

    @property
    def _device(self) -> torch.device:
        return self.scored[0].score.device

    def _check_model(self) -> None:
        if not self.scored:
            raise ValueError(
                f'{type(self).__name__} shrinks low-rank adapters, and the model has none. '
                f'Adapters with a rank to shrink: {", ".join(_shrinkable())}.'
            )
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

    def _watch(self, wrapper: OptimWrapper) -> None:
        """Score the gradients of every step: reduced, without loss scale, not clipped."""
        if not isinstance(wrapper, OptimWrapper):
            raise ValueError(
                f'{type(self).__name__} reads the gradients of one optimizer, got '
                f'{type(wrapper).__name__}. Use one optim_wrapper for the whole model.'
            )
        if wrapper.clip_grad_kwargs:
            wrapper.clip_func = _after(self._score, wrapper.clip_func)
        elif hasattr(wrapper, 'loss_scaler'):
            # it leaves out the optimizer's step, and with it the hook, where gradients overflow
            wrapper.step = _after(lambda: self._score_unscaled(wrapper), wrapper.step)
        else:
            wrapper.optimizer.register_step_pre_hook(lambda *_: self._score())

    def _score_unscaled(self, wrapper: OptimWrapper) -> None:
        wrapper.loss_scaler.unscale_(wrapper.optimizer)
        self._score()

    def _restore(self, state: Mapping) -> None:
        for scored in self.scored:
            saved = state['scores'].get(scored.key)
            if saved is None or saved['score'].shape != scored.score.shape:
                raise ValueError(
                    f"The checkpoint's state of {type(self).__name__} does not fit layer "
                    f"'{scored.layer}': expected scores of shape {tuple(scored.score.shape)}, got "
                    f'{None if saved is None else tuple(saved["score"].shape)}. Resume with the '
                    'config of the run, or start a new one with load_from.'
                )
            scored.score.copy_(saved['score'])
            scored.activity.copy_(saved['activity'])
        self.skipped.fill_(state['skipped'])
        self.history = list(state['history'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        self._pending = checkpoint.get(_STATE)
        if self._pending is None:
            runner.logger.warning(
                f'The checkpoint has no state of {type(self).__name__}: scores start at 0.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['rank_pattern'] = rank_pattern(unwrap(runner.model))
        for name in ('state_dict', 'ema_state_dict'):
            make_compact(checkpoint.get(name, {}))
        checkpoint[_STATE] = dict(
            scores={
                s.key: dict(score=s.score.cpu(), activity=s.activity.cpu()) for s in self.scored
            },
            skipped=int(self.skipped),
            history=self.history,
        )

    # -- truncation ------------------------------------------------------------------------------

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # one draw for all pictures that make one step, however they are split
        counts = runner.optim_wrapper._accumulative_counts
        self.draw(runner.iter - runner.iter % counts)

    def draw(self, step: int) -> None:
        """Draw how many components of each stream are used; depends on (seed, step) alone."""
        active = np.concatenate([scored.group.active for scored in self.scored])
        generator = np.random.default_rng((self._seed, step))
        share = generator.random(1 if self.scope == 'step' else len(active))
        lengths = 1 + np.floor(share * active).astype(np.int64)
        drawn = torch.from_numpy(lengths).to(self._device)
        start = 0
        for scored in self.scored:
            end = start + len(scored.group.streams)
            scored.group.prefix = drawn[start:end]
            start = end

    # -- scores ----------------------------------------------------------------------------------

    @torch.no_grad()
    def _score(self) -> None:
        seen = [(scored, values) for scored in self.scored
                if (values := self.measure(scored.group)) is not None]  # fmt: skip
        if not seen or seen[0][0].group.prefix is None:
            return
        finite = torch.stack([values.sum() for _, values in seen]).isfinite().all()
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
        return directional_scores(group)

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

    def after_train(self, runner: Runner) -> None:
        for scored in self.scored:
            scored.group.prefix = None

    def _due(self, time: int) -> bool:
        past = time - self.start_epoch
        last = math.inf if self.shrink_until is None else self.shrink_until
        return past > 0 and past % self.shrink_every == 0 and time <= last

    def shrink(self, runner: Runner) -> None:
        """Keep the best components of every stream."""
        # the first process decides for all
        decisions = [self.decide(runner) if is_main_process() else None]
        broadcast_object_list(decisions)
        tensors, copies = sorted_alike(runner), averaged_copies(runner)
        for scored, orders in zip(self.scored, decisions[0], strict=True):
            for index, order in enumerate(orders):
                scored.keep(index, order.to(self._device), tensors, copies)
            scored.group.prefix = None
        refresh_averages(runner)
        self._report(runner)

    def decide(self, runner: Runner) -> list[list[Tensor]]:
        """The components to keep of each group and stream, the best first."""
        return [
            [self.select(scored, index).cpu() for index in range(len(scored.group.streams))]
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

    def _report(self, runner: Runner) -> None:
        after, unit = record(runner), 'epoch' if self.by_epoch else 'iter'
        # the loop counts an epoch or iteration only after its hooks
        after[unit] += 1
        report(runner, self.history[-1], after, after[unit], int(self.skipped))
        self.history.append(after)


def _shrinkable() -> list[str]:
    ADAPTERS.import_from_location()
    return sorted(n for n, c in ADAPTERS.module_dict.items() if issubclass(c, LowRankAdapter))


def _after(first: Callable[[], None], function: Callable) -> Callable:
    def both(*args: Any, **kwargs: Any) -> Any:
        first()
        return function(*args, **kwargs)

    return both
