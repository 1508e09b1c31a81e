"""What a component is worth, and which components to give up for it (faar+)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import RankGroup


@torch.no_grad()
def gate_derivatives(group: RankGroup) -> Tensor | None:
    r"""Derivative of the loss along each component, with its sign: ``(S, rank)``.

    :math:`g_i = \langle A_i, \partial L/\partial A_i \rangle`, which is
    :math:`\partial L / \partial \gamma_i` for a gate on component i (and the same from B).
    ``None`` where there is no gradient.
    """
    name, parameter = next(iter(group.parameters.items()))
    if any(p.grad is None for p in group.parameters.values()):
        return None
    value, gradient = group.moved(name, parameter), group.moved(name, parameter.grad)
    return (value * gradient).flatten(2).sum(2)


def sensitivity(squares: Tensor, steps: Tensor, energy: Tensor) -> Tensor:
    r"""Mean squared derivative for each unit of energy, shrunk to the mean of the adapter.

    .. math:: S_i = \frac{F_i + \bar F}{e_i + \bar e}, \qquad F_i = \frac{\sum g_i^2}{n_i}

    Dividing by the number of steps in which a component was in use frees the score of what random
    truncation does to it; components of little energy have no estimate of their own.

    Args:
        squares: Sums of squared derivatives ``(r,)``.
        steps: Steps in which each component was in use ``(r,)``.
        energy: ``|A_i|^2 |B_i|^2`` ``(r,)``.
    """
    fisher = squares / steps.clamp(min=1)
    mean = energy.mean().clamp(min=torch.finfo(energy.dtype).tiny)
    return (fisher + fisher.mean()) / (energy + mean)


def cheapest_first(
    worths: Sequence[Tensor], costs: Sequence[int], floors: Sequence[int]
) -> list[tuple[int, float]]:
    """(stream, worth) of every component that may go, the least worth a parameter first.

    Args:
        worths: Worth of the components of each stream, in descending order.
        costs: Parameters of one component of each stream.
        floors: Components that each stream keeps in any case.
    """
    items = [
        (float(worth[i]) / cost, stream, -i, float(worth[i]))
        for stream, (worth, cost, floor) in enumerate(zip(worths, costs, floors, strict=True))
        for i in range(floor, len(worth))
    ]
    # on ties within a stream the last one goes first: what is kept must be a prefix
    return [(stream, worth) for _, stream, _, worth in sorted(items)]


def within_loss(
    worths: Sequence[Tensor], costs: Sequence[int], spent: float, eps: float,
    min_rank: int, max_drop: float,
) -> tuple[list[int], float]:  # fmt: skip
    """How many components each stream keeps if at most a share ``eps`` of the worth may be lost.

    Args:
        worths: As in :func:`cheapest_first`; the streams share one ledger.
        costs: Parameters of one component of each stream.
        spent: Share that earlier calls gave up.
        eps: Share that all calls together may give up.
        min_rank: No stream falls below it.
        max_drop: Largest share of a stream's components that goes at once.

    Returns:
        Components kept of each stream, and the share given up now.
    """
    kept = [len(worth) for worth in worths]
    total = float(sum(worth.sum() for worth in worths))
    floors = [max(min_rank, math.floor(k * (1 - max_drop))) for k in kept]
    given_up = 0.0
    for stream, worth in cheapest_first(worths, costs, floors):
        if total <= 0 or spent + (given_up + worth) / total > eps:
            break
        given_up += worth
        kept[stream] -= 1
    return kept, given_up / total if total > 0 else 0.0


def within_budget(
    worths: Sequence[Tensor], costs: Sequence[int], budget: float, min_rank: int
) -> list[int]:
    """How many components each stream keeps if they may have ``budget`` parameters together."""
    kept = [len(worth) for worth in worths]
    size = sum(k * cost for k, cost in zip(kept, costs, strict=True))
    floors = [min(min_rank, k) for k in kept]
    for stream, _ in cheapest_first(worths, costs, floors):
        if size <= budget:
            break
        size -= costs[stream]
        kept[stream] -= 1
    return kept
