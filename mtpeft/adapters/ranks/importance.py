"""AdaLoRA's importance of components, its budget, and what is kept within it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import RankGroup


@torch.no_grad()
def sensitivities(group: RankGroup) -> dict[str, Tensor] | None:
    r"""Of every entry of every factor :math:`I(w) = |w\, \partial L / \partial w|`.

    (arXiv 2303.10512, section 3.2.) ``None`` where a factor has no gradient.
    """
    parameters = group.parameters
    if any(p.grad is None for p in parameters.values()):
        return None
    return {name: (p * p.grad).abs() for name, p in parameters.items()}


def importance(group: RankGroup, entries: Mapping[str, Tensor]) -> Tensor:
    r"""Importance of each component from that of its entries, ``(S, rank)``.

    .. math:: S_i = s(\lambda_i) + \frac{1}{d_1} \sum_j s(P_{ji}) + \frac{1}{d_2} \sum_j s(Q_{ij})

    (arXiv 2303.10512, section 3.2): the sum over the factors of the mean over a component's entries
    in it. Without a factor of one number, as in LoRA, it is the mean of A's row plus the mean of
    B's column.

    Args:
        group: The components.
        entries: s by factor, shaped like it.
    """
    means = []
    for name in group.factors:
        components = group.moved(name, entries[name])
        means.append(components.reshape(*components.shape[:2], -1).mean(2))
    return torch.stack(means).sum(0)


def cubic_budget(step: int, start: int, target: int, t_initial: int, t_end: int) -> int:
    r"""Components that may be in use after ``step`` steps.

    .. math:: b(t) = b_T + (b_0 - b_T) \Big(1 - \frac{t - t_i}{T - t_f - t_i}\Big)^3

    between :math:`t_i` and :math:`T - t_f`, b_0 before and b_T after (arXiv 2303.10512, section
    3.3, in the form of the released code, which is continuous).

    Args:
        step: t.
        start: b_0.
        target: b_T.
        t_initial: t_i.
        t_end: T - t_f.

    Example:
        >>> [cubic_budget(t, 100, 20, 10, 30) for t in (0, 10, 20, 30, 40)]
        [100, 100, 30, 20, 20]
    """
    if step <= t_initial:
        return start
    if step >= t_end:
        return target
    left = 1 - (step - t_initial) / (t_end - t_initial)
    return int(target + (start - target) * left**3)


def most_important(
    scores: Sequence[Tensor], usable: Sequence[Tensor], budget: int, min_rank: int
) -> list[Tensor]:
    """The components in use under a budget: the ``min_rank`` best of each stream, then the best.

    Args:
        scores: ``(S, rank)`` of each group.
        usable: Which components take part, alike.
        budget: How many are in use over all groups.
        min_rank: How many of each stream are in use in any case (all, if it has fewer).

    Returns:
        Masks ``(S, rank)``.

    Example:
        >>> scores = [torch.tensor([[5.0, 4.0, 3.0]]), torch.tensor([[1.0, 2.0, 0.0]])]
        >>> usable = [torch.ones(1, 3, dtype=torch.bool)] * 2
        >>> [m.int().tolist() for m in most_important(scores, usable, budget=3, min_rank=1)]
        [[[1, 1, 0]], [[0, 1, 0]]]
    """
    values = []
    for score, mask in zip(scores, usable, strict=True):
        score = score.double().masked_fill(~mask, -torch.inf)
        place = score.sort(dim=1, descending=True, stable=True).indices.argsort(1)
        values.append(score.masked_fill(mask & (place < min_rank), torch.inf).flatten())
    order = torch.cat(values).sort(descending=True, stable=True).indices
    chosen = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    chosen[order[:budget]] = True
    parts = chosen.split([len(v) for v in values])
    return [part.view_as(score) for part, score in zip(parts, scores, strict=True)]
