"""TADFormer's layer: a filter between the factors that all tasks share (arXiv 2501.04293)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters.base import Coupling, NotMergeableError
from mtpeft.adapters.dtf import DynamicTaskFilter, depthwise
from mtpeft.adapters.lanes.on_map import OnMap
from mtpeft.adapters.lanes.ways import select_tasks
from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.ranks.low_rank import SHARED
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Share, Size
from mtpeft.utils.suggest import hint

FILTERS = ('dynamic', 'static', 'none')


class Passed(NamedTuple):
    """What the shared stream's pass leaves for the lanes.

    Attributes:
        frozen: ``W0 x + b`` of the shared input.
        dropped: The shared input as the low-rank path saw it.
    """

    frozen: Tensor
    dropped: Tensor


@ADAPTERS.register_module()
class TADFormer(OnMap, LoRA):
    r"""One pair A, B for all tasks; on a lane a task filter between them (arXiv 2501.04293).

    With x the shared stream's input and x_t a task's:

    .. math:: y = W_0 x + b + s B A\,\mathrm{drop}(x), \qquad
              y_t = W_0 x + b + s B\,\mathrm{DTF}(A x_t)

    DTF is a :class:`~mtpeft.adapters.dtf.DynamicTaskFilter`, one a layer for all tasks: what
    differs between tasks is their input. It convolves, so a lane's input is a map:
    ``(..., H, W, in)`` for a Linear layer, or ``(B, H W, in)`` of a map that it was told (tokens
    before the patches get 0). :class:`~mtpeft.models.backbones.TADFormerBackbone` gives each layer
    of a Swin its own. A layer without lanes is a LoRA.

    A kernel of the dynamic filter is made of all components of A x_t, so none can be drawn or
    pruned by itself: layers with a filter have no rank group, the others have LoRA's.

    Args:
        layer: The layer to adapt.
        tasks: Names of the task lanes.
        rank: Rank r.
        scale: s, multiplied directly.
        dropout: Dropout on the low-rank input of the shared stream.
        filter: ``'dynamic'``: DTF. ``'static'``: a depthwise 3 x 3 convolution with bias for each
            task, as in the released code. ``'none'``: y_t = W0 x + b + s B A x_t.

    Raises:
        ValueError: an unknown filter, a rank that does not fit, or (when a lane runs) an input
            that is no map.

    Example:
        >>> adapter = TADFormer(nn.Linear(8, 6), tasks=['semseg', 'depth'], rank=2)
        >>> [name for name, _ in adapter.named_parameters()]
        ['A', 'B', 'filter.weight', 'filter.bias', 'filter.std', 'filter.mean']
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        rank: Size = 16,
        scale: float = 4.0,
        dropout: Share = 0.05,
        filter: Literal['dynamic', 'static', 'none'] = 'dynamic',
    ) -> None:
        if filter not in FILTERS:
            raise ValueError(f"filter='{filter}' is unknown. " + hint(str(filter), FILTERS))
        self.kind = filter if tasks else 'none'
        self._conv = isinstance(layer, nn.Conv2d)
        super().__init__(layer, tasks, rank, scale=scale, dropout=dropout, frozen_input='shared')
        if tasks:
            # lanes pass the very A and B of the shared path
            self.coupling = Coupling(reads='output')
        self.convolves = f"filter='{self.kind}' convolves and"

    without_map = "type='TADFormerBackbone' gives every layer of a Swin its map, and filter='none'"

    @property
    def needs_map(self) -> bool:
        return self.kind != 'none' and not self._conv

    def _make_lanes(self, layer: nn.Module) -> None:
        count, weight = len(self.tasks), layer.weight
        if self.kind == 'dynamic':
            self.filter = DynamicTaskFilter(self.rank)
            names = [f'filter.{name}' for name, _ in self.filter.named_parameters()]
            self.base_parameters = {'task_filter': names}
        elif self.kind == 'static':
            self.task_kernel = nn.Parameter(weight.new_empty(count, self.rank, 3, 3))
            self.task_bias = nn.Parameter(weight.new_empty(count, self.rank))
            self.task_parameters = {'task_filter': ['task_kernel', 'task_bias']}
        if self.kind != 'none':
            del self.groups[SHARED]

    def reset_parameters(self) -> None:
        """LoRA's start; the static filter as torch's convolution, uniform in +-1/3."""
        super().reset_parameters()
        if self.kind == 'static':
            for parameter in (self.task_kernel, self.task_bias):
                nn.init.uniform_(parameter, -1 / 3, 1 / 3)

    def ranks(self) -> dict[str, int]:
        return super().ranks() or {SHARED: self.rank}

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        # vmap wants something with a task axis, also where no lane has parameters of its own
        index = torch.arange(len(self.tasks), device=layer.weight.device)
        return {'index': index, **self.lane_parameters()}

    def _factors(self) -> list[Tensor]:
        group = self.groups.get(SHARED)
        return [self.A, self.B] if group is None else list(group.effective().values())

    # -- streams -------------------------------------------------------------------------------

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Passed | None]:
        factors = self._factors()
        if not self.tasks and not self._drops:
            return layer.adapted(x, *factors, self.scale), None
        frozen = layer.frozen(x)
        if not self.tasks:
            return layer.side_by_side(frozen, x, *factors, self.scale, drop=self.dropout.p), None
        dropped = self.dropout(x)
        out = layer.side_by_side(frozen, dropped, *factors, self.scale)
        return out, Passed(frozen, dropped)

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Passed
    ) -> Tensor:
        return memory.frozen + self.scale * self._filtered(layer, x, params)

    def all_lanes(
        self,
        layer: nn.Linear,
        x: Tensor,
        frozen: Tensor,
        tasks: Sequence[int] | None = None,
    ) -> Tensor:
        """The lanes of several tasks at once.

        Args:
            layer: The adapted Linear layer.
            x: Every task's map ``(T, B, H, W, in)``.
            frozen: The shared stream's frozen output ``(B, H, W, out)``.
            tasks: Positions of the tasks; all by default.

        Returns:
            ``(T, B, H, W, out)``.
        """
        stacked = select_tasks(self.lane_parameters(), tasks)
        params = {name: value[:, None] for name, value in stacked.items()}
        return frozen + self.scale * self._filtered(layer, x, params)

    def _filtered(self, layer: nn.Module, x: Tensor, params: dict[str, Tensor]) -> Tensor:
        a, b = self._factors()
        if self.kind == 'none':
            return layer.low_rank(x, a, b)
        if self._conv:
            return F.conv2d(self._filter(layer.convolve(x, a), params), b[:, :, None, None])
        z = F.linear(self.patches(x), a).movedim(-1, -3)
        return self.tokens(F.linear(self._filter(z, params).movedim(-3, -1), b), x)

    def _filter(self, z: Tensor, params: dict[str, Tensor]) -> Tensor:
        if self.kind == 'dynamic':
            return self.filter(z)
        out = depthwise(z, params['task_kernel'].to(z.dtype))
        return out + params['task_bias'].to(z.dtype)[..., None, None]

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is not None:
            raise NotMergeableError(
                f"The lane of '{task}' passes the shared stream's input through the frozen weight, "
                'and its own through a filter; only the shared path can be merged.'
            )
        group = self.groups.get(SHARED)
        a, b = (self.A, self.B) if group is None else self.factors()
        return self.scale * torch.tensordot(b, a, dims=1)

    def lanes_only(self) -> 'TADFormer':
        # lanes pass the factors of the shared path
        return deepcopy(self).requires_grad_(False)

    def memory_of(self, frozen: Tensor, x: Tensor) -> Passed:
        return Passed(frozen, x)

    def extra_repr(self) -> str:
        return super().extra_repr() + (f', filter={self.kind!r}' if self.tasks else '')
