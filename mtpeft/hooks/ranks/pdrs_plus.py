"""faar+: ranks decided by what components are worth, shrinking that stops when it would cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import RankGroup
from mtpeft.adapters.ranks.rebase import Rebase, singular_basis
from mtpeft.adapters.ranks.scores import order_by_score
from mtpeft.adapters.ranks.worth import (
    gate_derivatives,
    sensitivity,
    within_budget,
    within_loss,
)
from mtpeft.hooks.ranks.pdrs import PDRSHook
from mtpeft.hooks.ranks.pdrs_state import Scored, change_basis
from mtpeft.hooks.ranks.rank_records import effective_parameters
from mtpeft.hooks.ranks.rank_state import averaged_copies, refresh_averages, sorted_alike
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Count, Share


@dataclass
class Stream:
    """One stream at the end of a period.

    Attributes:
        scored: Where its components are.
        index: Position among the streams of its group.
        basis: Change to the singular basis, ``None`` for none.
        worth: Of each component in that basis ``(r,)``; ``None`` without evidence.
    """

    scored: Scored
    index: int
    basis: Rebase | None
    worth: Tensor | None

    @property
    def cost(self) -> int:
        """Parameters of one component."""
        return self.scored.group.parameters_per_component


@HOOKS.register_module()
class PDRSPlusHook(PDRSHook):
    r"""Shrinks ranks until giving up more would cost, or down to a budget of parameters.

    Our own step beyond FAAR's rule (:class:`~mtpeft.hooks.ranks.pdrs.PDRSHook`), whose final rank
    is set by rho and not by the task. Random truncation is the same while ranks shrink. What
    differs:

    *Worth.* Over a period, each component's derivative g is squared and averaged over the steps in
    which it was in use, so truncation does not bias it. At the end of the period, B A is written in
    its singular basis (:func:`~mtpeft.adapters.ranks.rebase.singular_basis`; the function,
    gradients and optimizer moments go along), and component j is worth

    .. math:: w_j = \sigma_j^2 \sum_i \text{mix}_{ji} S_i

    the second-order (Fisher) cost of removing it, with the sensitivities S of
    :func:`~mtpeft.adapters.ranks.worth.sensitivity`.

    *Ledger.* Components go in the order of worth a parameter, as long as the share of the worth
    that was given up since the start of training stays within ``eps``. So it does not compound, and
    it stops. With ``budget``, they go in the same order over the whole network until the model's
    effective parameters are within it.

    *Until.* After ``until`` of the training, nothing shrinks or is truncated.

    Measured on the toy of docs/methods/faar.md, where the alternatives are compared too.

    Args:
        eps: Share of the worth that may be given up over the whole training, in [0, 1).
        budget: Effective trainable parameters of the model to end with, instead of ``eps``.
        until: Share of the training in which ranks shrink, in (0, 1].
        scope_of_ledger: ``'adapter'``: each stream has a ledger of its own. ``'network'``: one for
            all, components of different adapters compete.
        max_drop: Largest share of a stream's components that goes at once (without ``budget``).
        min_rank: No stream falls below this rank.
        shrink_every: Epochs in a period. The first period only changes the basis.
        by_epoch: ``False`` counts periods in iterations.
        scope: As in :class:`~mtpeft.hooks.ranks.pdrs.PDRSHook`.

    Raises:
        ValueError: an option is out of its range, or ``budget`` cannot be met.

    Example:
        >>> PDRSPlusHook(eps=0.02).until
        0.75
    """

    def __init__(
        self,
        eps: Share = 0.01,
        budget: Count | None = None,
        until: Share = 0.75,
        scope_of_ledger: Literal['adapter', 'network'] = 'adapter',
        max_drop: Share = 0.3,
        min_rank: Count = 1,
        shrink_every: Count = 1,
        by_epoch: bool = True,
        scope: Literal['adapter', 'step'] = 'adapter',
    ) -> None:
        super().__init__(
            min_rank=min_rank, shrink_every=shrink_every, by_epoch=by_epoch, scope=scope
        )
        for name, value, valid, ok in (
            ('eps', eps, '[0, 1)', _number(eps) and 0 <= eps < 1),
            ('until', until, '(0, 1]', _number(until) and 0 < until <= 1),
            ('max_drop', max_drop, '(0, 1]', _number(max_drop) and 0 < max_drop <= 1),
            ('budget', budget, 'positive integers', budget is None or _count(budget)),
            ('scope_of_ledger', scope_of_ledger, "('adapter', 'network')",
             scope_of_ledger in ('adapter', 'network')),
        ):  # fmt: skip
            if not ok:
                raise ValueError(f'Expected {name} in {valid}, got {value!r}.')
        self.eps = eps
        self.budget = budget
        self.until = until
        self.scope_of_ledger = scope_of_ledger
        self.max_drop = max_drop
        self.spent: dict[str, list[float]] = {}

    # -- start and resume ------------------------------------------------------------------------

    def start(self, runner: Runner) -> None:
        self.spent = {s.key: [0.0] * len(s.group.streams) for s in self.scored}
        length = runner.max_epochs if self.by_epoch else runner.max_iters
        self.last = math.floor(self.until * length)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        if self.budget is not None:
            # of the model at the start of the whole run, which a resumed one knows by now
            self._check_budget(runner)

    def _check_budget(self, runner: Runner) -> None:
        start = self.history[0]['effective']
        least = start - sum(
            (active - min(active, self.min_rank)) * scored.group.parameters_per_component
            for scored in self.scored
            for active in scored.group.active
        )
        if not least <= self.budget <= start:
            raise ValueError(
                f'Expected a budget from {least:,} (min_rank={self.min_rank} everywhere) to '
                f'{start:,} effective trainable parameters (the model at its start), got '
                f'{self.budget:,}.'
            )

    def state(self) -> dict:
        return {**super().state(), 'spent': self.spent}

    def restore(self, state: Mapping) -> None:
        super().restore(state)
        self.spent |= {key: list(values) for key, values in state['spent'].items()}

    # -- truncation and evidence -----------------------------------------------------------------

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if (runner.epoch if self.by_epoch else runner.iter) < self.last:
            super().before_train_iter(runner, batch_idx, data_batch)
            return
        self.use_all()

    def measure(self, group: RankGroup) -> Tensor | None:
        return gate_derivatives(group)

    def update(self, scored: Scored, values: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
        return scored.score + values.square(), scored.activity + used

    # -- shrinking -------------------------------------------------------------------------------

    def _due(self, time: int) -> bool:
        return time % self.shrink_every == 0 and time <= self.last

    @torch.no_grad()
    def shrink(self, runner: Runner) -> None:
        plan = self.from_first_process(lambda: self._plan(runner))
        tensors, copies = sorted_alike(runner), averaged_copies(runner)
        steps = iter(plan['streams'])
        for scored in self.scored:
            for index, (basis, order) in zip(range(len(scored.group.streams)), steps, strict=False):
                if basis is not None:
                    change_basis(scored, index, basis, runner.optim_wrapper.optimizer, copies)
                scored.keep(index, order.to(self._device), tensors, copies)
            scored.score.zero_()
            scored.activity.zero_()
            scored.group.prefix = None
        self.spent = plan['spent']
        refresh_averages(runner)
        self.report(runner)

    def _plan(self, runner: Runner) -> dict:
        streams = [
            self._stream(scored, index)
            for scored in self.scored
            for index in range(len(scored.group.streams))
        ]
        judged = [s for s in streams if s.worth is not None]
        time = 1 + (runner.epoch if self.by_epoch else runner.iter)
        period, periods = time // self.shrink_every, self.last // self.shrink_every
        spent = {key: list(values) for key, values in self.spent.items()}
        kept = {id(s): len(s.worth) for s in judged}
        # the first period only changes the basis
        shrinks = bool(judged) and period > 1
        if shrinks and self.budget is not None:
            size = self._size_at(runner, judged, (period - 1) / max(periods - 1, 1))
            ordered = [s.worth.sort(descending=True).values for s in judged]
            ranks = within_budget(ordered, [s.cost for s in judged], size, self.min_rank)
            kept = {id(s): rank for s, rank in zip(judged, ranks, strict=True)}
        elif shrinks:
            for group in [[s] for s in judged] if self.scope_of_ledger == 'adapter' else [judged]:
                self._spend(group, kept, spent)
        return dict(
            spent=spent,
            streams=[(_pair(s.basis), self._order(s, kept.get(id(s)))) for s in streams],
        )

    def _stream(self, scored: Scored, index: int) -> Stream:
        group, active = scored.group, scored.group.active[index]
        factors = group.stream_factors(group.streams[index])
        squares = scored.score[index, :active].double()
        if not squares.sum() > 0:
            return Stream(scored, index, None, None)
        energy = torch.ones_like(squares)
        for name, factor in factors.items():
            components = factor.movedim(group.factors[name], 0).double()
            energy *= components.reshape(len(components), -1).square().sum(1)
        values = sensitivity(squares, scored.activity[index, :active].double(), energy)
        basis = singular_basis(*factors.values()) if group.product else None
        if basis is None:
            return Stream(scored, index, None, energy * values)
        return Stream(scored, index, basis, basis.energy * (basis.mix @ values))

    def _spend(self, streams: list[Stream], kept: dict, spent: dict) -> None:
        """Give up what the ledger of ``streams`` allows."""
        # a stream without evidence in an earlier period has not heard of what was spent then
        before = max(spent[s.scored.key][s.index] for s in streams)
        ranks, share = within_loss(
            [s.worth.sort(descending=True).values for s in streams], [s.cost for s in streams],
            before, self.eps, self.min_rank, self.max_drop,
        )  # fmt: skip
        for stream, rank in zip(streams, ranks, strict=True):
            kept[id(stream)] = rank
            spent[stream.scored.key][stream.index] = before + share

    def _size_at(self, runner: Runner, judged: list[Stream], progress: float) -> float:
        """Parameters for the judged components now, on a geometric path to the budget."""
        start = self.history[0]['effective']
        # what is no component of a judged stream stays as it is
        fixed = effective_parameters(unwrap(runner.model)) - sum(
            s.cost * len(s.worth) for s in judged
        )
        goal = max(self.budget - fixed, 1)
        return goal if progress >= 1 else (start - fixed) * (goal / (start - fixed)) ** progress

    def _order(self, stream: Stream, kept: int | None) -> Tensor:
        if kept is None:
            return torch.arange(stream.scored.group.active[stream.index])
        return order_by_score(stream.worth)[:kept].cpu()


def _pair(basis: Rebase | None) -> tuple[Tensor, Tensor] | None:
    return None if basis is None else (basis.n.cpu(), basis.m.cpu())


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
