"""LoRA: low-rank adaptation (arXiv 2106.09685)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import NotMergeableError, check_rank
from mtpeft.adapters.ranks.low_rank import LowRankAdapter
from mtpeft.ops.gelu_low_rank_add import LowRankSum, gelu_low_rank_add, takes_less
from mtpeft.registry import ADAPTERS
from mtpeft.utils.suggest import hint


@ADAPTERS.register_module()
class LoRA(LowRankAdapter):
    r"""Low-rank adaptation of a Linear or Conv2d layer (arXiv 2106.09685, equation 3).

    .. math:: y = W_0 x + b + s\, B A\, \mathrm{drop}(x)

    and, for a task lane t with its own input, :math:`y_t = W_0 x_t + b + s\, B_t A_t x_t`.
    A ``(r, in)`` (``(r, in, k, k)`` for a convolution) starts uniform in +-1/sqrt(in), B
    ``(out, r)`` at 0, so the start is the pretrained layer.

    Args:
        layer: The layer to adapt.
        tasks: Names of the task lanes.
        rank: Rank r of the shared path.
        task_rank: Rank of each task's path. Default: ``rank``.
        scale: s, multiplied directly (not alpha / r).
        dropout: Dropout on the input of the shared low-rank path.
        frozen_input: What of a lane passes the frozen weight: ``'task'``, its own input (the lane
            can be merged into one weight), or ``'shared'``, the shared stream's input (MTLoRA).

    Raises:
        ValueError: a rank below 1 or above the layer's smaller side, or an unknown
            ``frozen_input``.

    Example:
        >>> adapter = LoRA(nn.Linear(8, 4), rank=2)
        >>> adapter.A.shape, adapter.B.shape
        (torch.Size([2, 8]), torch.Size([4, 2]))
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        rank: int = 16,
        task_rank: int | None = None,
        scale: float = 4.0,
        dropout: float = 0.0,
        frozen_input: str = 'task',
    ) -> None:
        super().__init__(layer, tasks)
        if frozen_input not in ('task', 'shared'):
            raise ValueError(
                f"frozen_input='{frozen_input}' is unknown. "
                + hint(frozen_input, ('task', 'shared'))
            )
        self.rank = check_rank(rank, layer)
        self.task_rank = check_rank(rank if task_rank is None else task_rank, layer, 'task_rank')
        self.scale = scale
        self.frozen_input = frozen_input
        self.dropout = nn.Dropout(dropout)
        self._make_shared(layer)
        if tasks:
            self._make_lanes(layer)
        self.reset_parameters()

    def _make_shared(self, layer: nn.Module) -> None:
        weight = layer.weight
        self.A = nn.Parameter(weight.new_empty(self.rank, *weight.shape[1:]))
        self.B = nn.Parameter(weight.new_empty(weight.shape[0], self.rank))
        self.shared_parameters = {'lora_shared': ['A', 'B']}
        self.make_group('shared', dict(A=0, B=1))

    def _make_lanes(self, layer: nn.Module) -> None:
        weight, count = layer.weight, len(self.tasks)
        self.task_A = nn.Parameter(weight.new_empty(count, self.task_rank, *weight.shape[1:]))
        self.task_B = nn.Parameter(weight.new_empty(count, weight.shape[0], self.task_rank))
        self.task_parameters = {'lora_task': ['task_A', 'task_B']}
        self.make_group('task', dict(task_A=0, task_B=1))

    def reset_parameters(self) -> None:
        """A uniform in +-1/sqrt(in), B zero."""
        for name, parameter in self.named_parameters(recurse=False):
            if name in ('B', 'task_B'):
                nn.init.zeros_(parameter)
            elif name in ('A', 'task_A'):
                one = parameter[0, 0] if name == 'task_A' else parameter[0]
                bound = one.numel() ** -0.5
                nn.init.uniform_(parameter, -bound, bound)

    @property
    def lane_reads_shared_input(self) -> bool:
        return self.frozen_input == 'shared' and bool(self.tasks)

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return self.groups['task'].effective()

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._shared(layer, x, *self._shared_terms(layer))

    def _shared_terms(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
        """A, B and the gain of each row that the shared stream uses in this pass."""
        factors = self.groups['shared'].effective()
        return factors['A'], factors['B'], None

    def stream_weight(self, layer: nn.Module) -> Tensor | None:
        if self._drops or 'shared' not in self.groups:
            return None
        with torch.autocast(layer.weight.device.type, enabled=False):
            a, b, gain = self._shared_terms(layer)
            weight = layer.weight + self.scale * torch.tensordot(b, a, dims=1)
            return weight if gain is None else weight * gain.view(-1, *[1] * (weight.ndim - 1))

    @property
    def _drops(self) -> bool:
        return self.training and self.dropout.p > 0

    def _shared(
        self, layer: nn.Module, x: Tensor, a: Tensor, b: Tensor, gain: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The shared stream's output and memory, with the given factors and gain."""
        if not self._drops and not self.lane_reads_shared_input:
            return layer.adapted(x, a, b, self.scale, gain), None
        frozen = layer.frozen(x)
        out = layer.side_by_side(frozen, self.dropout(x), a, b, self.scale, gain)
        return out, frozen if self.lane_reads_shared_input else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        pair, gain = (params['task_A'], params['task_B']), params.get('gain')
        if memory is None:
            return layer.adapted(x, *pair, self.scale, gain, len(self.tasks))
        return layer.side_by_side(memory, x, *pair, self.scale, gain)

    def lane_unmade(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor | LowRankSum:
        if params.get('gain') is not None or not self._adds_a_product(layer, memory):
            return super().lane_unmade(layer, x, params, memory)
        return LowRankSum(memory, x, params['task_A'], params['task_B'], self.scale)

    def lane_after(
        self,
        layer: nn.Module,
        activation: nn.Module,
        x: Tensor | LowRankSum,
        params: dict[str, Tensor],
        memory: Tensor | None,
    ) -> Tensor:
        if not (self._adds_a_product(layer, memory) and takes_less(activation, x)):
            return super().lane_after(layer, activation, x, params, memory)
        factors = params['task_A'], params['task_B']
        out = gelu_low_rank_add(memory, x, *factors, self.scale, activation.approximate)
        return layer.scaled(out, params.get('gain'))

    def _adds_a_product(self, layer: nn.Module, memory: Tensor | None) -> bool:
        """Is a lane the frozen output, which is there, and a product, whatever class this is?"""
        return memory is not None and type(self).lane is LoRA.lane and isinstance(layer, nn.Linear)

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is not None and self.frozen_input == 'shared':
            raise NotMergeableError(
                f"The lane of '{task}' passes the shared stream's input through the frozen weight "
                "(frozen_input='shared'); only the shared path can be merged. "
                "frozen_input='task' has lanes that can."
            )
        a, b = self.factors(task)
        return self.scale * torch.tensordot(b, a, dims=1)
