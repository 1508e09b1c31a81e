"""How much each component of a low-rank adapter matters, and how many of them to keep."""

import torch
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import RankGroup


@torch.no_grad()
def directional_scores(group: RankGroup) -> Tensor | None:
    r"""Directional derivatives of the loss along each component, from the gradients at hand.

    .. math:: s_i = \tfrac12 \big( |\langle A_{i,:}, \partial L / \partial A_{i,:} \rangle|
              + |\langle B_{:,i}, \partial L / \partial B_{:,i} \rangle| \big)

    (arXiv 2603.20403, with the printed formula's indices put right; the mean over the factors where
    there are more than two.) It is by how much the loss would change, to first order, if the
    component were scaled.

    Returns:
        ``(S, rank)``, 0 for components that were masked; ``None`` where a factor has no gradient.
    """
    terms = []
    for name, parameter in group.parameters.items():
        if parameter.grad is None:
            return None
        value, gradient = (group.moved(name, t) for t in (parameter, parameter.grad))
        terms.append((value * gradient).reshape(*value.shape[:2], -1).sum(2).abs())
    return torch.stack(terms).mean(0) if terms else None


def order_by_score(scores: Tensor) -> Tensor:
    """Indices from the highest score to the lowest; ties stay in order."""
    return torch.sort(scores, descending=True, stable=True).indices


def coverage_rank(scores: Tensor, rho: float) -> int:
    r"""The least number of components that cover a share of all scores.

    .. math:: K = \min\{k : c(k) \ge \rho\}, \quad c(k) = \sum_{i \le k} s_i \Big/ \sum_i s_i

    with the scores in descending order (arXiv 2603.20403).

    Args:
        scores: ``(r,)``, not negative, with a positive sum.
        rho: The share, in (0, 1].

    Example:
        >>> coverage_rank(torch.tensor([1.0, 6.0, 3.0]), rho=0.9)
        2
    """
    ordered = scores[order_by_score(scores)].double()
    covered = ordered.cumsum(0)
    # rounding of the sum must not ask for one component more
    enough = covered >= rho * covered[-1] * (1 - 1e-12)
    return int(enough.int().argmax()) + 1
