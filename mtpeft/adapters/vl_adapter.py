"""VL-Adapter: one bottleneck adapter for all tasks, or half of it (arXiv 2112.06825)."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mtpeft.adapters.bottleneck import BottleneckAdapter
from mtpeft.registry import ADAPTERS
from mtpeft.utils.suggest import hint

_SHARES = ('down', 'up')


@ADAPTERS.register_module()
class VLAdapter(BottleneckAdapter):
    r"""Bottleneck adapters that tasks share whole or by half (arXiv 2112.06825, section 3).

    .. math:: y = h + s\,\big(W_\uparrow\, a(W_\downarrow h + b_\downarrow) + b_\uparrow\big),
              \qquad h = W_0 x + b

    Without lanes (``lanes='shared'``) it is the *single adapter*: the same for all tasks. With
    lanes it is the *half-shared adapter*: all lanes have one W_down, b_down and each its own W_up,
    b_up, or the other way round. The shared stream of a lane block has both of its own. Starts are
    those of :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        share: The half that the lanes share, ``'down'`` or ``'up'``.
        **kwargs: Options of :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Raises:
        ValueError: an unknown ``share``, or as there.

    Example:
        >>> adapter = VLAdapter(nn.Linear(8, 16), tasks=['semseg', 'depth'], width=4)
        >>> adapter.base_down.shape, adapter.task_up.shape
        (torch.Size([4, 16]), torch.Size([2, 16, 4]))
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        share: Literal['down', 'up'] = 'down',
        **kwargs: Any,
    ) -> None:
        if share not in _SHARES:
            raise ValueError(f"share='{share}' is unknown. " + hint(str(share), _SHARES))
        self.share = share
        super().__init__(layer, tasks, **kwargs)

    def make_parameters(self, layer: nn.Module) -> None:
        super().make_parameters(layer)
        if not self.tasks:
            return
        # a half of the lanes' parameters becomes one for all of them
        names = self.task_parameters['adapter_task']
        halves = [name for name in names if name.startswith(f'task_{self.share}')]
        for name in halves:
            one = nn.Parameter(getattr(self, name).detach()[0].clone())
            delattr(self, name)
            setattr(self, _base(name), one)
        self.base_parameters = {'adapter_base': [_base(name) for name in halves]}
        self.task_parameters = {'adapter_task': [n for n in names if n not in halves]}

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        base = {n: getattr(self, n) for names in self.base_parameters.values() for n in names}
        count = len(self.tasks)
        shared = {n.replace('base_', 'task_'): p.expand(count, *p.shape) for n, p in base.items()}
        return {**self.lane_parameters(), **shared}


def _base(name: str) -> str:
    return name.replace('task_', 'base_')
