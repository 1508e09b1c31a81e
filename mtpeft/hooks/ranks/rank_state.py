"""What a rank allocator keeps of every adapter, and what has to change with its components."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import LowRankAdapter, RankGroup, low_rank_adapters


@dataclass
class Tracked:
    """Components of an adapter under an allocator; subclasses add what was seen of them.

    Attributes:
        layer: Name of the adapted layer.
        group: The components.
    """

    layer: str
    group: RankGroup

    @property
    def key(self) -> str:
        """Its name in a checkpoint."""
        return f'{self.layer}:{self.group.kind}'

    def averages(self) -> Sequence[Tensor]:
        """Tensors ``(S, rank)`` that are sorted with the components."""
        return ()

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
        for average in self.averages():
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
