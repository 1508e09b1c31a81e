"""What rank shrinking keeps of every adapter, and what has to be sorted with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from mtpeft.adapters.ranks import LowRankAdapter, RankGroup, low_rank_adapters


@dataclass
class Scored:
    """Components of an adapter and what was seen of them.

    Attributes:
        layer: Name of the adapted layer.
        group: The components.
        score: ``(S, rank)``, average of the scores over time.
        activity: ``(S, rank)``, average of 1 where the component was in use, else 0.
    """

    layer: str
    group: RankGroup
    score: Tensor
    activity: Tensor

    @classmethod
    def of(cls, layer: str, group: RankGroup) -> 'Scored':
        """Nothing seen yet."""
        device = next(iter(group.parameters.values())).device
        zeros = torch.zeros(len(group.streams), group.rank, device=device)
        return cls(layer, group, zeros, zeros.clone())

    @property
    def key(self) -> str:
        """Its name in a checkpoint."""
        return f'{self.layer}:{self.group.kind}'

    def debiased(self, index: int) -> Tensor:
        """Average scores of a stream over the steps in which each component was in use."""
        score, activity = self.score[index], self.activity[index]
        return torch.where(activity > 0, score / activity.clamp_min(1e-12), 0)

    def keep(
        self,
        index: int,
        order: Tensor,
        tensors: Callable[[nn.Parameter], Sequence[Tensor]],
        copies: Sequence[Mapping[str, LowRankAdapter]],
    ) -> None:
        """Keep the components ``order`` of a stream, in the model, its copies, and the averages.

        Args:
            index: Position of the stream.
            order: The components to keep, the best first.
            tensors: From :func:`sorted_alike`.
            copies: From :func:`averaged_copies`.
        """
        parameters = self.group.parameters
        self.group.keep(index, order, {name: tensors(p) for name, p in parameters.items()})
        for adapters in copies:
            copy = adapters[self.layer].groups[self.group.kind]
            copy.keep(index, order, {name: [p.data] for name, p in copy.parameters.items()})
        for average in (self.score, self.activity):
            kept = average[index][order].clone()
            average[index] = 0
            average[index, : len(order)] = kept


def sorted_alike(runner: Runner) -> Callable[[nn.Parameter], list[Tensor]]:
    """Of a parameter: itself, its gradient, and what the optimizer keeps of its shape."""
    state = runner.optim_wrapper.optimizer.state

    def tensors(parameter: nn.Parameter) -> list[Tensor]:
        kept = [t for t in state.get(parameter, {}).values() if torch.is_tensor(t)]
        waiting = [] if parameter.grad is None else [parameter.grad]
        return [parameter.data, *waiting, *(t for t in kept if t.shape == parameter.shape)]

    return tensors


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
        basis: N and M of :class:`~mtpeft.adapters.rebase.Rebase`.
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


def averaged_copies(runner: Runner) -> list[dict[str, LowRankAdapter]]:
    """The adapters in the averaged copies of the model that hooks hold, by layer."""
    return [low_rank_adapters(hook.ema_model.module) for hook in _with_copy(runner)]


def refresh_averages(runner: Runner) -> None:
    """Let an average over the state dict be of the state dict as it now is."""
    for hook in _with_copy(runner):
        if hook.ema_model.update_buffers:
            hook.ema_model.avg_parameters = hook.ema_model.module.state_dict()


def _with_copy(runner: Runner) -> list:
    return [hook for hook in runner.hooks if hasattr(hook, 'ema_model')]
