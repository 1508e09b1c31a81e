"""Weights that are formed of parameters and kept while nothing is trained."""

import operator
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import within


class FormedOnce(nn.Module):
    """Mixin: weights that are made of parameters are kept while nothing is trained.

    They are made anew when a parameter was changed in place, when the mode is set (``train()``,
    ``eval()``), and when the module is moved or cast. What writes into ``parameter.data`` in
    evaluation mode has to call ``eval()`` after it. A graph of torch.compile cannot ask whether a
    parameter was changed and makes them at every pass.
    """

    _formed: dict[str, tuple[list[nn.Parameter], tuple, Tensor]] | None = None

    def formed(
        self,
        sources: Iterable[nn.Parameter],
        make: Callable[[], Tensor],
        also: Hashable = None,
        name: str = '',
    ) -> Tensor:
        """What ``make`` makes of the parameters ``sources`` and of what ``also`` says.

        ``name`` tells apart the weights of a module that forms several.
        """
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return make()
        gates = [group.gate for group in getattr(self, 'groups', {}).values()]
        sources = [*sources, *(gate for gate in gates if gate is not None)]
        state = also, [p._version for p in sources]
        kept = (self._formed or {}).get(name)
        same = kept is not None and len(kept[0]) == len(sources)
        if not (same and all(map(operator.is_, kept[0], sources)) and kept[1] == state):
            kept = sources, state, make()
            self._formed = {**(self._formed or {}), name: kept}
        return kept[2]

    def prepare(self, layer: nn.Module) -> None:
        """Renew what is kept of the layer's weight, before a compiled graph that cannot passes."""

    def train(self, mode: bool = True) -> 'FormedOnce':
        self._formed = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self._formed = None
        return super()._apply(*args, **kwargs)


@contextmanager
def prepared(adapted: Iterable[tuple[nn.Module, nn.Module]]) -> Iterator[None]:
    """A context for a compiled graph: what adapters keep of their layers' weights is up to date.

    Args:
        adapted: Layers, each with its adapter.
    """
    for layer, adapter in adapted:
        if isinstance(adapter, FormedOnce):
            adapter.prepare(layer)
    with within(prepared=True):
        yield
