"""Several sets of adapters on one frozen base, and which of them answers."""

import copy
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from mtpeft.models.backbones.lent_base import plain_backbone, share, tensors_of
from mtpeft.utils.suggest import hint

OWN = 'default'
"""The name of the set that a model has of itself."""

_MAKING = threading.Lock()
_CHOSEN: ContextVar[Mapping[int, str | None]] = ContextVar('mtpeft_adapters')


class AdapterSets:
    """Models of their own beside a model, whose frozen tensors are the very ones of that model.

    Which of them answers a call is said by the call, or by the context (so by thread, and by task
    of asyncio) that it is made in, or by the default.

    Attributes:
        models: The other models, by the name of their set.
        default: The name of the set that answers where nothing is said.
    """

    def __init__(self) -> None:
        self.models: dict[str, nn.Module] = {}
        self.default = OWN
        self._plain: dict[str, nn.Module] = {}

    @property
    def names(self) -> list[str]:
        """All sets; the model's own first."""
        return [OWN, *self.models]

    def check(self, name: str) -> str:
        """``name``, if there is such a set.

        Raises:
            KeyError: there is none; the nearest names are given.
        """
        if name not in self.names:
            raise KeyError(f"There are no adapters '{name}'. {hint(str(name), self.names)}")
        return name

    def chosen(self) -> str | None:
        """The set that answers here; ``None``: adapters are switched off."""
        return _CHOSEN.get({}).get(id(self), self.default)

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """A context in which a set answers; with ``None``, the frozen network without adapters."""
        token = _CHOSEN.set({**_CHOSEN.get({}), id(self): name})
        try:
            yield
        finally:
            _CHOSEN.reset(token)

    def model(self, own: nn.Module, name: str | None) -> nn.Module:
        """The model of a set, or that of the set that answers without its adapters."""
        if name is not None:
            return own if name == OWN else self.models[self.check(name)]
        kept = own if self.default == OWN else self.models[self.default]
        return self._without_adapters(own, kept)

    def _without_adapters(self, own: nn.Module, kept: nn.Module) -> nn.Module:
        """Necks and heads of a set on the levels of the frozen network."""
        tap = kept.backbone.tap
        with _MAKING:
            if tap not in self._plain:
                self._plain[tap] = plain_backbone(own.backbone, tap)
        bare = copy.copy(kept)
        bare.__dict__.update(
            _modules={**kept._modules, 'backbone': self._plain[tap]}, adapter_sets=None
        )
        return bare

    def apply(self, own: nn.Module, function: Callable[[nn.Module], Any]) -> None:
        """Do to the other models what was done to the model itself, and keep one base."""
        for model in self.models.values():
            function(model)
        self._plain.clear()
        self.tie(own)

    def tie(self, own: nn.Module) -> None:
        """Let the other models have the very tensors of the model's base."""
        for model in self.models.values():
            share(model.backbone, base_of(own, model), held_of(model))


def base_of(own: nn.Module, model: nn.Module) -> dict[str, Any]:
    """What the frozen tensors of ``model`` are to be: those of ``own``, or what it has."""
    theirs, ours = (dict(tensors_of(m.backbone)) for m in (model, own))
    trained = {n for n, p in own.backbone.named_parameters() if p.requires_grad} | held_of(own)
    if own.backbone.merged:
        return theirs
    return {**theirs, **{key: tensor for key, tensor in ours.items() if key not in trained}}


def held_of(model: nn.Module) -> set[str]:
    """Keys of the backbone that are frozen, and were trained before they were saved."""
    held = (getattr(model, 'loaded', None) or {}).get('held') or ()
    return {key.removeprefix('backbone.') for key in held}


def by_chosen(method: Callable) -> Callable:
    """Let a method of a model be answered by the set of adapters that is chosen.

    It gets an option ``adapter``: the name of the set for this call.
    """

    @functools.wraps(method)
    def call(self: nn.Module, *args: Any, adapter: str | None = None, **options: Any) -> Any:
        sets: AdapterSets | None = self.adapter_sets
        if sets is None:
            if adapter not in (None, OWN):
                raise KeyError(f"There are no adapters '{adapter}'. {hint(adapter, [OWN])}")
            return method(self, *args, **options)
        name = sets.chosen() if adapter is None else sets.check(adapter)
        model = sets.model(self, name)
        if model is not self:
            return getattr(model, method.__name__)(*args, **options)
        with sets.using(OWN):
            return method(self, *args, **options)

    return call
