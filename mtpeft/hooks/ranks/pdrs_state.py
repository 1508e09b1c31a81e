"""What rank shrinking keeps of every adapter, and what changes with the basis of its product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtpeft.adapters.ranks.low_rank import LowRankAdapter, RankGroup
from mtpeft.hooks.ranks.rank_state import Tracked


@dataclass
class Scored(Tracked):
    """Components of an adapter and what was seen of them.

    Attributes:
        score: ``(S, rank)``, average of the scores over time.
        activity: ``(S, rank)``, average of 1 where the component was in use, else 0.
    """

    score: Tensor
    activity: Tensor

    @classmethod
    def of(cls, layer: str, group: RankGroup) -> 'Scored':
        """Nothing seen yet."""
        device = next(iter(group.parameters.values())).device
        zeros = torch.zeros(len(group.streams), group.rank, device=device)
        return cls(layer, group, zeros, zeros.clone())

    def averages(self) -> Sequence[Tensor]:
        return self.score, self.activity

    def debiased(self, index: int) -> Tensor:
        """Average scores of a stream over the steps in which each component was in use."""
        score, activity = self.score[index], self.activity[index]
        return torch.where(activity > 0, score / activity.clamp_min(1e-12), 0)


@torch.no_grad()
def change_basis(
    scored: Scored,
    index: int,
    basis: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    copies: Sequence[Mapping[str, LowRankAdapter]],
) -> None:
    """Write a stream's ``B A`` in another basis, in the model and its copies.

    Args:
        scored: The components.
        index: Position of the stream.
        basis: N and M of :class:`~mtpeft.adapters.ranks.rebase.Rebase`.
        optimizer: Its moments go along: first ones as gradients do, squared ones (named ``*_sq``)
            as sums of independent terms.
        copies: From :func:`averaged_copies`.
    """
    n, m = basis
    group = scored.group
    # components first: A' = N A and B'^T = M^T B^T
    for name, values, gradients in zip(group.factors, (n, m.mT), (m.mT, n), strict=True):
        parameter = group.parameters[name]
        changes = [(parameter.data, values)]
        changes += [
            (c[scored.layer].groups[group.kind].parameters[name].data, values) for c in copies
        ]
        if parameter.grad is not None:
            changes.append((parameter.grad, gradients))
        for key, state in optimizer.state.get(parameter, {}).items():
            if torch.is_tensor(state) and state.shape == parameter.shape:
                squared = key.endswith('_sq') or key.endswith('_sqs')
                changes.append((state, gradients.square() if squared else gradients))
        for tensor, matrix in changes:
            rows = group.moved(name, tensor)[index, : len(matrix)]
            new = matrix.to(tensor.device) @ rows.flatten(1).double()
            rows.copy_(new.view(rows.shape))
