"""LoRA: low-rank adaptation (arXiv 2106.09685)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import Coupling, Merged, NotMergeableError, check_rank, matrix_shape
from mtpeft.adapters.ranks.low_rank import SHARED, LowRankAdapter
from mtpeft.ops.dropout import Dropout
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Share, Size
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
        rank: Size = 16,
        task_rank: Size | None = None,
        scale: float = 4.0,
        dropout: Share = 0.0,
        frozen_input: Literal['task', 'shared'] = 'task',
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
        if tasks and frozen_input == 'shared':
            self.coupling = Coupling(reads='input')
        self.dropout = Dropout(dropout)
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
        if not self._drops and not self.coupling.reads:
            return layer.adapted(x, a, b, self.scale, gain), None
        frozen = layer.frozen(x)
        drop = self.dropout.p if self._drops else 0.0
        out = layer.side_by_side(frozen, x, a, b, self.scale, gain, drop)
        return out, frozen if self.coupling.reads else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        pair, gain = (params['task_A'], params['task_B']), params.get('gain')
        if memory is None:
            return layer.adapted(x, *pair, self.scale, gain, len(self.tasks))
        return layer.side_by_side(memory, x, *pair, self.scale, gain)

    def low_rank_lane(
        self, params: dict[str, Tensor], memory: Tensor
    ) -> tuple[Tensor, Tensor, float, Tensor | None] | None:
        """A, B, the scale and the gain of a lane that adds their product to ``memory``.

        ``None`` where a lane is something else, as in a subclass with a :meth:`lane` of its own.
        """
        if type(self).lane is not LoRA.lane:
            return None
        return params['task_A'], params['task_B'], self.scale, params.get('gain')

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is not None and self.frozen_input == 'shared':
            raise NotMergeableError(
                f"The lane of '{task}' passes the shared stream's input through the frozen weight "
                "(frozen_input='shared'); only the shared path can be merged. "
                "frozen_input='task' has lanes that can."
            )
        a, b = self.factors(task)
        return self.scale * torch.tensordot(b, a, dims=1)

    # -- merging -------------------------------------------------------------------------------

    def merged(self, layer: nn.Module, has_shared: bool = True, idle: bool = False) -> Merged:
        try:
            return super().merged(layer, has_shared, idle)
        except NotMergeableError as error:
            if not self.coupling.reads or self.coupling.read_by_shared:
                raise
            return self._shared_merged(layer, idle, error)

    def _shared_merged(self, layer: nn.Module, idle: bool, error: NotMergeableError) -> Merged:
        """The shared path merged, and lanes kept that want the frozen layer's output of its input.

        Both outputs come from one product with W0 above W'. Where the shared stream is read by
        nobody, W0 is enough.
        """
        if idle:
            return Merged(layer.weight, lanes=self.lanes_only(), note=_READ)
        rows, columns = matrix_shape(layer)
        if self.rank * (rows + columns) <= rows * columns:
            reason = str(error).split('. ')[0].rstrip('.')
            raise NotMergeableError(
                f'{reason}; its shared path takes fewer operations unmerged'
            ) from error
        both = torch.cat([layer.weight, self.weight(layer)])
        return Merged(layer.weight, lanes=self.lanes_only(), both=both, note=_READ)

    def lanes_only(self) -> 'LoRA':
        """A copy without what the shared path alone has."""
        kept = deepcopy(self).requires_grad_(False)
        for name in (name for names in kept.shared_parameters.values() for name in names):
            owner, _, attribute = name.rpartition('.')
            delattr(kept.get_submodule(owner), attribute)
        kept.shared_parameters = {}
        kept.groups.pop(SHARED, None)
        return kept

    def memory_of(self, frozen: Tensor, x: Tensor) -> Any:
        """What :meth:`lane` wants of a shared stream ``x`` that was merged, ``W0 x + b`` of it."""
        return frozen


_READ = "lanes read the shared stream's pass, and stay"
