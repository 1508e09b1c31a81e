"""MTLoRA: task-agnostic and task-specific low-rank modules (arXiv 2403.20320)."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import Coupling, Merged, NotMergeableError
from mtpeft.adapters.lora import LoRA
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Share, Size
from mtpeft.utils.suggest import hint

_MODES = ('matrix', 'matrixv2', 'addition')


@ADAPTERS.register_module()
class MTLoRA(LoRA):
    r"""MTLoRA's layer: lanes reuse the frozen output of the shared stream (arXiv 2403.20320).

    With x the shared stream's input and x_t a task's:

    .. math::
        \text{matrix:}   &\quad y = W_0 x + b + s B A\,\mathrm{drop}(x), \qquad
                          y_t = W_0 x + b + s B_t A_t x_t \\
        \text{matrixv2:} &\quad y_t = y + s B_t A_t x_t \\
        \text{addition:} &\quad y = W_0 x + b + \mathrm{LN}\Big(\sum_t y_t\Big), \qquad
                          y_t = W_0 x + b + s B_t A_t x_t

    Since the frozen weight sees x and not x_t, a lane cannot be merged into one weight; the
    shared path of ``matrix`` and ``matrixv2`` can. A layer without lanes always uses ``matrix``.

    Args:
        layer: The layer to adapt.
        tasks: Names of the task lanes.
        mode: ``'matrix'`` (the paper's), ``'matrixv2'`` or ``'addition'``.
        dropout: Dropout on the shared low-rank input.
        **kwargs: ``rank``, ``task_rank``, ``scale`` of :class:`~mtpeft.adapters.lora.LoRA`.

    Raises:
        ValueError: an unknown mode, or ``addition`` on a convolution.

    Example:
        >>> layer = nn.Linear(8, 4)
        >>> MTLoRA(layer, tasks=['semseg', 'depth'], rank=2, task_rank=1).task_A.shape
        torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        mode: Literal['matrix', 'matrixv2', 'addition'] = 'matrix',
        dropout: Share = 0.05,
        task_rank: Size = 4,
        **kwargs: Any,
    ) -> None:
        if mode not in _MODES:
            raise ValueError(f"mode='{mode}' is unknown. " + hint(mode, _MODES))
        self.mode = mode if tasks else 'matrix'
        if self.mode == 'addition' and not isinstance(layer, nn.Linear):
            raise ValueError(
                "mode='addition' normalises the last axis and needs a Linear layer, "
                f'got {type(layer).__name__}; use mode="matrix" for convolutions'
            )
        super().__init__(
            layer, tasks, dropout=dropout, task_rank=task_rank, frozen_input='shared', **kwargs
        )
        if self.mode == 'matrixv2':
            self.coupling = Coupling(reads='output')
        elif self.mode == 'addition':
            self.coupling = Coupling(reads='input', read_by_shared=True)

    def _make_shared(self, layer: nn.Module) -> None:
        if self.mode != 'addition':
            super()._make_shared(layer)
            return
        self.norm = nn.LayerNorm(layer.out_features)
        self.shared_parameters = {'lora_shared': ['norm.weight', 'norm.bias']}

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.mode == 'matrix':
            return super().shared_and_memory(layer, x)
        if self.mode == 'matrixv2':
            out, _ = super().shared_and_memory(layer, x)
            return out, out
        # Outside a lane block no task has a stream of its own: every lane sees x.
        frozen = layer.frozen(x)
        lanes = [self.lane(layer, x, params, frozen) for params in self.lane_slices(layer)]
        return self.shared_from_lanes(layer, x, lanes), frozen

    def shared_from_lanes(self, layer: nn.Module, x: Tensor, lanes: list[Tensor]) -> Tensor:
        return layer.frozen(x) + self.norm(torch.stack(lanes).sum(0))

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is None and self.mode == 'addition':
            raise NotMergeableError("MTLoRA's mode 'addition' normalises its output: no merge.")
        return super().delta_weight(layer, task)

    def _shared_merged(self, layer: nn.Module, idle: bool, error: NotMergeableError) -> Merged:
        merged = super()._shared_merged
        if self.mode != 'matrixv2':
            return merged(layer, idle, error)
        # lanes want what the merged layer gives
        return merged(layer, True, error)._replace(weight=self.weight(layer))
