"""AdaLoRA: a budget of components, spent where they matter most (arXiv 2303.10512)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from mmengine.dist import broadcast
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.adapters.adalora import has_triplets, orthogonality
from mtpeft.adapters.ranks.importance import (
    cubic_budget,
    importance,
    most_important,
    sensitivities,
)
from mtpeft.adapters.ranks.low_rank import RankGroup
from mtpeft.adapters.ranks.patterns import idle_streams
from mtpeft.adapters.ranks.scores import order_by_score
from mtpeft.hooks.added_loss import add_to_loss
from mtpeft.hooks.ranks.rank_allocator import RankAllocatorHook
from mtpeft.hooks.ranks.rank_state import Tracked
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Count, NotNegative, Positive, Share
from mtpeft.utils.suggest import hint

_PENALTIES = ('norm', 'squared')
_RECORDS = 20


@dataclass
class Sensed(Tracked):
    """Components and the averages of their entries' sensitivity.

    Attributes:
        mean: Average sensitivity by factor, shaped like it; empty when nothing is observed.
        spread: Average distance from ``mean``, alike.
        live: Streams that have an effect.
    """

    mean: dict[str, Tensor] = field(default_factory=dict)
    spread: dict[str, Tensor] = field(default_factory=dict)
    live: list[bool] = field(default_factory=list)

    def importance(self) -> Tensor:
        """``(S, rank)``."""
        entries = {name: self.mean[name] * self.spread[name] for name in self.group.factors}
        return importance(self.group, entries)

    def usable(self) -> Tensor:
        """Active components of streams that have an effect, ``(S, rank)``."""
        counts = [n * live for n, live in zip(self.group.active, self.live, strict=True)]
        device = next(iter(self.group.parameters.values())).device
        ranks = torch.tensor(counts, device=device)
        return torch.arange(self.group.rank, device=device) < ranks[:, None]


@HOOKS.register_module()
class AdaLoRAHook(RankAllocatorHook):
    r"""Gives a shrinking budget of components to the streams in which they matter most.

    *Importance* (arXiv 2303.10512, section 3.2). At every optimizer step each entry w of a factor
    has the sensitivity :math:`I = |w\, \partial L / \partial w|`, with L the loss and the penalty:

    .. math:: \bar I \leftarrow \beta_1 \bar I + (1 - \beta_1) I, \quad
              \bar U \leftarrow \beta_2 \bar U + (1 - \beta_2) |I - \bar I|, \quad
              s = \bar I\, \bar U

    and a component sums the means of s over its entries in each factor
    (:func:`~mtpeft.adapters.ranks.importance.importance`).

    *Budget* (section 3.3). Every ``delta_t`` iterations, the most important components of all
    streams together stay within :func:`~mtpeft.adapters.ranks.importance.cubic_budget`; of the
    others the last factor is set to 0: Lambda of :class:`~mtpeft.adapters.AdaLoRA`, B of LoRA and
    its like, which is where they started. It is trained on, so they may come back. ``t_final``
    iterations before the end, those within the target are kept and the others pruned for ever.

    *Penalty* (section 3.1). ``orthogonality`` times a measure of how far P's columns and Q's rows
    are from orthonormal is added to the loss of any model that is trained by
    ``optim_wrapper.update_params``, and logged. Other adapters than AdaLoRA have none.

    Streams without effect (see :func:`~mtpeft.adapters.ranks.patterns.idle_streams`) take no part
    and keep their rank. What differs from the paper: each stream keeps ``min_rank`` components,
    where the paper lets a matrix lose all.

    Args:
        target_rank: Mean rank of the streams at the end.
        t_initial: Iterations before the budget shrinks; a number below 1 is a share of the run.
        t_final: Iterations at the end with the final components, likewise.
        delta_t: Iterations from one choice of components to the next.
        beta1: Decay of the sensitivity's average, in [0, 1).
        beta2: Decay of its spread's, in [0, 1).
        orthogonality: Coefficient of the penalty; 0 for none.
        penalty: ``'norm'``: the mean over all P and Q of :math:`\lVert Q Q^T - I \rVert_F`, as the
            released code has it, from which the paper's coefficients (.1 to .5) come;
            ``'squared'``: the sum of squares, as printed.
        min_rank: No stream falls below this rank.

    Raises:
        ValueError: an option is out of its range; the target is above the ranks that exist or
            below ``min_rank``; ``t_initial`` and ``t_final`` leave no iteration.

    Example:
        >>> AdaLoRAHook(target_rank=4).beta1
        0.85
    """

    state_key = 'adalora'
    by_epoch = False

    def __init__(
        self,
        target_rank: Positive = 4,
        t_initial: NotNegative = 0.1,
        t_final: NotNegative = 0.3,
        delta_t: Count = 10,
        beta1: Share = 0.85,
        beta2: Share = 0.85,
        orthogonality: NotNegative = 0.1,
        penalty: Literal['norm', 'squared'] = 'norm',
        min_rank: Count = 1,
    ) -> None:
        super().__init__()
        for name, value, valid, ok in (
            ('target_rank', target_rank, 'positive numbers', _number(target_rank, 0)),
            ('t_initial', t_initial, '[0, 1) or whole numbers', _time(t_initial)),
            ('t_final', t_final, '[0, 1) or whole numbers', _time(t_final)),
            ('delta_t', delta_t, 'positive integers', _count(delta_t)),
            ('beta1', beta1, '[0, 1)', _number(beta1) and 0 <= beta1 < 1),
            ('beta2', beta2, '[0, 1)', _number(beta2) and 0 <= beta2 < 1),
            ('orthogonality', orthogonality, '[0, inf)',
             _number(orthogonality) and orthogonality >= 0),
            ('min_rank', min_rank, 'positive integers', _count(min_rank)),
        ):  # fmt: skip
            if not ok:
                raise ValueError(f'Expected {name} in {valid}, got {value!r}.')
        if penalty not in _PENALTIES:
            raise ValueError(f"penalty='{penalty}' is unknown. " + hint(str(penalty), _PENALTIES))
        self.target_rank = target_rank
        self.t_initial = t_initial
        self.t_final = t_final
        self.delta_t = delta_t
        self.beta1 = beta1
        self.beta2 = beta2
        self.orthogonality = orthogonality
        self.penalty = penalty
        self.min_rank = min_rank
        self._penalty: Tensor | None = None

    # -- start and resume ------------------------------------------------------------------------

    def track(self, layer: str, group: RankGroup) -> Sensed:
        zeros = [{n: torch.zeros_like(p) for n, p in group.parameters.items()} for _ in range(2)]
        return Sensed(layer, group, *zeros, [True] * len(group.streams))

    def check_model(self, runner: Runner) -> None:
        idle = idle_streams(unwrap(runner.model))
        for tracked in self.tracked:
            tracked.live = [s not in idle.get(tracked.layer, ()) for s in tracked.group.streams]
        length = runner.max_iters
        self.first = _iterations(self.t_initial, length)
        self.last = length - _iterations(self.t_final, length)
        if self.first >= self.last:
            raise ValueError(
                f't_initial={self.t_initial} and t_final={self.t_final} leave no iteration of the '
                f"run's {length} in which the budget could shrink."
            )
        rooms = [
            active
            for tracked in self.tracked
            for active, live in zip(tracked.group.active, tracked.live, strict=True)
            if live
        ]
        self.initial = sum(rooms)
        self.target = round(self.target_rank * len(rooms))
        least = sum(min(self.min_rank, room) for room in rooms)
        if not least <= self.target <= self.initial:
            raise ValueError(
                f'Expected a target_rank from {least / len(rooms):.4g} (min_rank={self.min_rank}) '
                f'to {self.initial / len(rooms):.4g}, the mean rank of the {len(rooms)} streams '
                f'that have an effect, got {self.target_rank}.'
            )

    def start(self, runner: Runner) -> None:
        self.now = runner.iter
        if self.orthogonality and any(self._penalised()):
            add_to_loss(runner.optim_wrapper, self._penalty_term)

    def state(self) -> dict:
        averages = {} if self.finished else {
            t.key: dict(mean=_on_cpu(t.mean), spread=_on_cpu(t.spread)) for t in self.tracked
        }  # fmt: skip
        return dict(averages=averages)

    def restore(self, state: Mapping) -> None:
        if self.finished:
            return
        for tracked in self.tracked:
            saved = state['averages'].get(tracked.key, {})
            for kind, own in dict(mean=tracked.mean, spread=tracked.spread).items():
                found = {n: tuple(t.shape) for n, t in saved.get(kind, {}).items()}
                wanted = {n: tuple(t.shape) for n, t in own.items()}
                if found != wanted:
                    raise self.misfit(tracked.layer, f'averages of shapes {wanted}', found)
                for name, tensor in own.items():
                    tensor.copy_(saved[kind][name])

    @property
    def finished(self) -> bool:
        """The final components are chosen."""
        return self.now >= self.last

    # -- penalty ---------------------------------------------------------------------------------

    def _penalised(self) -> list[Sensed]:
        return [t for t in self.tracked if has_triplets(t.group) and any(t.live)]

    def orthogonality_penalty(self) -> Tensor:
        """What is added to the loss, without its coefficient."""
        distances = torch.cat([
            orthogonality(t.group)[:, [i for i, live in enumerate(t.live) if live]].flatten()
            for t in self._penalised()
        ])  # fmt: skip
        return distances.mean() if self.penalty == 'norm' else distances.square().sum()

    def _penalty_term(self) -> Tensor:
        penalty = self.orthogonality_penalty()
        self._penalty = penalty.detach()
        return self.orthogonality * penalty

    # -- importance ------------------------------------------------------------------------------

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.now = runner.iter

    @torch.no_grad()
    def observe(self) -> None:
        if self.finished:
            return
        seen = [(t, s) for t in self.tracked if (s := sensitivities(t.group)) is not None]
        if not seen:
            return
        sums = [value.sum() for _, values in seen for value in values.values()]
        finite = torch.stack(sums).isfinite().all() & ~self.overflow
        self.skipped += ~finite
        for tracked, values in seen:
            for name, value in values.items():
                mean, spread = tracked.mean[name], tracked.spread[name]
                new = self.beta1 * mean + (1 - self.beta1) * value
                wide = self.beta2 * spread + (1 - self.beta2) * (value - new).abs()
                # decided on the device: a step must not wait for the host
                mean.copy_(torch.where(finite, new, mean))
                spread.copy_(torch.where(finite, wide, spread))

    # -- budget ----------------------------------------------------------------------------------

    def budget(self, step: int) -> int:
        """Components in use after ``step`` iterations, over all streams that have an effect."""
        return cubic_budget(step, self.initial, self.target, self.first, self.last)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if self._penalty is not None:
            runner.message_hub.update_scalar('train/orthogonality', self._penalty)
        self.now = time = runner.iter + 1
        if time == self.last:
            self.prune(runner, self._final)
            for tracked in self.tracked:
                tracked.mean, tracked.spread = {}, {}
        elif self.first < time < self.last and time % self.delta_t == 0:
            self._mask(runner, time)

    def select(self, budget: int) -> list[Tensor]:
        """The components of each group within ``budget``, ``(S, rank)``."""
        return most_important(
            [t.importance() for t in self.tracked], [t.usable() for t in self.tracked],
            budget, self.min_rank,
        )  # fmt: skip

    @torch.no_grad()
    def _mask(self, runner: Runner, time: int) -> None:
        usable = torch.cat([t.usable().flatten() for t in self.tracked])
        kept = torch.cat([m.flatten() for m in self.select(self.budget(time))]) | ~usable
        # the first process decides for all
        kept = kept.to(torch.uint8)
        broadcast(kept)
        masks = kept.split([t.usable().numel() for t in self.tracked])
        for tracked, mask in zip(self.tracked, masks, strict=True):
            group = tracked.group
            weights = mask.view(len(group.streams), group.rank)
            group.multiply(weights, group.parameters[group.last].data)
        every = -(-(self.last - self.first) // (_RECORDS * self.delta_t)) * self.delta_t
        if time % every == 0:
            self.report(runner, self._ranks(masks))

    def _ranks(self, masks: tuple[Tensor, ...]) -> dict[str, dict[str, int]]:
        """The rank pattern without masked components."""
        pattern: dict[str, dict[str, int]] = {}
        for tracked, mask in zip(self.tracked, masks, strict=True):
            group = tracked.group
            streams = mask.view(len(group.streams), group.rank)
            used = [
                int(one[:active].sum()) for one, active in zip(streams, group.active, strict=True)
            ]
            pattern.setdefault(tracked.layer, {}).update(zip(group.streams, used, strict=True))
        return pattern

    def _final(self) -> list[list[Tensor]]:
        orders = []
        for tracked, mask in zip(self.tracked, self.select(self.target), strict=True):
            scores = tracked.importance()
            orders.append([
                _kept(scores[i], mask[i]) if live else torch.arange(tracked.group.active[i])
                for i, live in enumerate(tracked.live)
            ])  # fmt: skip
        return orders


def _kept(scores: Tensor, mask: Tensor) -> Tensor:
    order = order_by_score(scores)
    return order[mask[order]]


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def _iterations(time: float, length: int) -> int:
    return round(time * length) if isinstance(time, float) and time < 1 else int(time)


def _number(value: Any, above: float | None = None) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (above is None or value > above)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _time(value: Any) -> bool:
    return _number(value) and value >= 0 and (value < 1 or value == int(value))
