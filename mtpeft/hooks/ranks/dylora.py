"""DyLoRA: one training for all ranks (arXiv 2210.07558)."""

import math
from typing import Any, Literal

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor

from mtpeft.checkpoints.rank_truncate import component_axes
from mtpeft.hooks.ranks.random_truncation import RandomTruncation
from mtpeft.hooks.ranks.rank_allocator import RankAllocatorHook
from mtpeft.hooks.ranks.rank_state import averaged_copies
from mtpeft.registry import HOOKS
from mtpeft.utils.kinds import Count
from mtpeft.utils.suggest import hint

_DISTRIBUTIONS = ('uniform', 'geometric')
_UPDATES = ('prefix', 'single')


@HOOKS.register_module()
class DyLoRAHook(RandomTruncation, RankAllocatorHook):
    r"""Trains low-rank adapters so that they can be cut to any rank (arXiv 2210.07558).

    For every optimizer step a rank :math:`b \sim p_B` is drawn, and only the first b of the r
    components are used:

    .. math:: \Delta W_{\downarrow b} = s\, \tfrac{r}{b}\, B_{:, 1..b}\, A_{1..b, :}

    (algorithm 1; s is the adapter's ``scale``, so :math:`s r` is the paper's alpha.) Components in
    front are trained more often and come to matter most. Evaluation uses all r, and nothing is
    pruned while training; the rank is chosen after it, by ``rank`` or, any number of times, by
    ``mtpeft publish --rank``.

    With other adapters than LoRA, b are the components of their product (of the direction in DoRA,
    of the base in Sine-AWB).

    Args:
        distribution: :math:`p_B`: ``'uniform'`` over ``min_rank`` to r, or ``'geometric'``,
            :math:`p_B(b) \propto (1 - p)^{b}` on the same.
        p: Of the geometric distribution, in (0, 1).
        min_rank: The least b. Streams with fewer components use all of them.
        update: ``'prefix'``: all b components are updated; ``'single'``: only component b is (the
            paper's "frozen" variant): the others get a gradient of 0, which still moves them by
            the optimizer's momentum and weight decay.
        rescale: The factor r / b, in training and where the rank is cut. It is in the paper's
            formula and code, hence the default. ``False``: s alone, whatever the rank.
        rank: Rank that every stream is cut to at the end of training, before it is saved and
            evaluated. ``None``: all ranks are kept.
        scope: What shares a draw: all of one ``'step'`` (each stream at the same quantile of its
            own ranks, so the same b where ranks are equal), or nothing (``'adapter'``).

    Raises:
        ValueError: an option is out of its range, or ``rank`` is more than any stream has.

    Example:
        >>> hook = DyLoRAHook(distribution='geometric', p=0.5)
        >>> hook.lengths(np.array([0.0, 0.6, 0.99]), np.array([4, 4, 4])).tolist()
        [1, 2, 4]
    """

    state_key = 'dylora'
    by_epoch = False

    def __init__(
        self,
        distribution: Literal['uniform', 'geometric'] = 'uniform',
        p: float = 0.25,
        min_rank: Count = 1,
        update: Literal['prefix', 'single'] = 'prefix',
        rescale: bool = True,
        rank: Count | None = None,
        scope: Literal['adapter', 'step'] = 'step',
    ) -> None:
        super().__init__()
        for name, value, valid in (
            ('distribution', distribution, _DISTRIBUTIONS), ('update', update, _UPDATES),
        ):  # fmt: skip
            if value not in valid:
                raise ValueError(f"{name}='{value}' is unknown. " + hint(str(value), valid))
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 < p < 1:
            raise ValueError(f'Expected p in (0, 1), got {p!r}.')
        for name, value in dict(min_rank=min_rank, rank=1 if rank is None else rank).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'Expected {name} to be an integer from 1 on, got {value!r}.')
        self.distribution = distribution
        self.p = p
        self.min_rank = min_rank
        self.update = update
        self.rescale = rescale
        self.rank = rank
        self.scope = scope
        self.check_scope()

    def check_model(self, runner: Runner) -> None:
        most = max(t.group.rank for t in self.tracked)
        for name, value in dict(rank=self.rank, min_rank=self.min_rank).items():
            if value is not None and value > most:
                raise ValueError(
                    f'Expected {name} to be at most {most}, the largest rank of the adapters, got '
                    f'{value}.'
                )

    # -- truncation ------------------------------------------------------------------------------

    def lengths(self, share: np.ndarray, active: np.ndarray) -> np.ndarray:
        least = np.minimum(self.min_rank, active)
        count = active - least + 1
        if self.distribution == 'uniform':
            return least + np.floor(share * count).astype(np.int64)
        # the inverse of the distribution function 1 - (1 - p)^k, over its value at the last rank
        log = math.log1p(-self.p)
        whole = -np.expm1(log * count)
        drawn = np.floor(np.log1p(-share * whole) / log).astype(np.int64)
        return least + np.minimum(drawn, count - 1)

    def draw(self, step: int) -> None:
        super().draw(step)
        for tracked in self.tracked if self.rescale else ():
            group = tracked.group
            active = torch.tensor(group.active, device=group.prefix.device)
            group.prefix_gain = active / group.prefix

    def use_all(self) -> None:
        super().use_all()
        for tracked in self.tracked:
            tracked.group.prefix_gain = None

    @torch.no_grad()
    def observe(self) -> None:
        """Leave only the gradients of component b."""
        for tracked in self.tracked if self.update == 'single' else ():
            group = tracked.group
            components = torch.arange(group.rank, device=group.prefix.device)
            others = components != group.prefix[:, None] - 1
            for name, parameter in group.parameters.items():
                if parameter.grad is not None:
                    gradient = group.moved(name, parameter.grad)
                    gradient.masked_fill_(others.view(*others.shape, *[1] * (gradient.ndim - 2)), 0)

    # -- the rank after training -----------------------------------------------------------------

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if self.rank is not None and runner.iter + 1 == runner.max_iters:
            self.truncate(runner, self.rank)

    @torch.no_grad()
    def truncate(self, runner: Runner, rank: int) -> None:
        """Cut every stream to at most ``rank`` components."""
        copies = averaged_copies(runner)
        for tracked in self.tracked if self.rescale else ():
            group = tracked.group
            copied = [c[tracked.layer].groups[group.kind] for c in copies]
            gains = [[active / min(rank, active)] * group.rank for active in group.active]
            group.multiply(
                torch.tensor(gains, device=self._device),
                *(g.parameters[group.last].data for g in (group, *copied)),
            )
        self.use_all()
        self.prune(runner, lambda: self._orders(rank))

    def _orders(self, rank: int) -> list[list[Tensor]]:
        return [[torch.arange(min(rank, a)) for a in t.group.active] for t in self.tracked]

    def state(self) -> dict:
        # for the tool that cuts a file
        return dict(rescale=self.rescale, components=component_axes(self.groups()))
