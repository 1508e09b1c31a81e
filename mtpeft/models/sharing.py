"""What every model of ours can do to be passed on."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mtpeft.models.adapter_sets import OWN, AdapterSets
from mtpeft.models.components import trainable_parameters
from mtpeft.registry import SERVICES


class Sharing(nn.Module):
    """Mixin: a model that is saved, put on the hub, counted, and has other sets of adapters.

    Attributes:
        given: What the model was made with, a config; for a file of a model without a config.
        adapter_sets: Other sets of adapters on the model's base, ``None`` without.
    """

    given: Mapping[str, Any] | None = None
    adapter_sets: AdapterSets | None = None

    def save_pretrained(self, folder: str | Path, **options: Any) -> list[Path]:
        """Write what was trained as a folder, see :func:`mtpeft.save_pretrained`."""
        return SERVICES.get('save_pretrained')(self._to_share(), folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Put the model on the Hugging Face hub, see :func:`mtpeft.push_to_hub`."""
        return SERVICES.get('push_to_hub')(self._to_share(), repository, **options)

    def print_trainable_parameters(self) -> None:
        """Print how many numbers are trained, of how many."""
        print(trained_line(self._to_share()))

    # -- several sets of adapters ----------------------------------------------------------------

    @property
    def adapter_names(self) -> list[str]:
        """The sets of adapters: ``'default'``, the model's own, and those that were loaded."""
        return self._sets().names

    def load_adapter(self, name: str, source: str | Path, **options: Any) -> None:
        """Load a set of adapters beside those that are here, on the same base in memory.

        It may be of another method, of other ranks and tasks. Heads, necks, norms and biases that
        were trained with it are its own; the frozen tensors are the very ones of this model.

        Args:
            name: What it is called here.
            source: As of :func:`mtpeft.from_pretrained`.
            **options: ``checkpoint``, as there.

        Raises:
            ValueError: the name is taken, or this model or that one is merged.
            CheckpointError: the set is of another base, or see :func:`mtpeft.from_pretrained`.
        """
        sets = self._sets()
        if not isinstance(name, str) or not name or name in sets.names:
            raise ValueError(f'Expected a new name for adapters, got {name!r}: {sets.names} are.')
        model = SERVICES.get('adapters_on')(self, source, **options)
        sets.models[name] = model.train(self.training)

    def set_adapter(self, name: str) -> None:
        """Let a set answer where neither the call nor its context says another."""
        self._sets().default = self._sets().check(name)

    def delete_adapter(self, name: str) -> None:
        """Let go of a set that was loaded.

        Raises:
            KeyError: there is none of that name.
            ValueError: it is the model's own.
        """
        sets = self._sets()
        if sets.check(name) == OWN:
            raise ValueError(f"'{OWN}' is the model's own set, which stays as long as the model.")
        del sets.models[name]
        if sets.default == name:
            sets.default = OWN

    def use_adapter(self, name: str) -> AbstractContextManager[None]:
        """A context in which a set answers; of this thread and this task of asyncio alone."""
        return self._sets().using(self._sets().check(name))

    def disable_adapter(self) -> AbstractContextManager[None]:
        """A context in which the frozen network answers, without adapters and trained norms.

        Necks and heads stay those of the default set: they read the levels of the frozen network.

        Raises:
            ValueError: in the first call, where the frozen network is not known as it was.
        """
        return self._sets().using(None)

    def adapter_model(self, name: str | None = None) -> nn.Module:
        """The model of a set by itself, such as to train it, or to save it.

        Args:
            name: Of the set. ``None``: the one that answers here.

        Raises:
            KeyError: there is none of that name.
        """
        if self.adapter_sets is None and name in (None, OWN):
            return self
        sets = self._sets()
        return sets.model(self, sets.chosen() if name is None else sets.check(name))

    def _to_share(self) -> nn.Module:
        sets = self.adapter_sets
        return self if sets is None else sets.model(self, sets.chosen() or sets.default)

    def _sets(self) -> AdapterSets:
        if self.adapter_sets is None:
            self.adapter_sets = AdapterSets()
        return self.adapter_sets

    def train(self, mode: bool = True) -> 'Sharing':
        super().train(mode)
        if self.adapter_sets is not None:
            self.adapter_sets.apply(self, lambda model: model.train(mode))
        return self

    def _apply(self, function: Callable[[Tensor], Tensor], *args: bool) -> nn.Module:
        super()._apply(function, *args)
        if self.adapter_sets is not None:
            self.adapter_sets.apply(self, lambda model: model._apply(function, *args))
        return self


def trained_line(model: nn.Module) -> str:
    """How many numbers of a model are trained, in the words of PEFT.

    Example:
        >>> trained_line(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)))
        'trainable params: 8 || all params: 11 || trainable%: 72.7273'
    """
    trained, total = trainable_parameters(model)
    share = 100 * trained / total if total else 0.0
    return f'trainable params: {trained:,} || all params: {total:,} || trainable%: {share:.4f}'


def made_with(kind: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a part, of the ``locals()`` at the start of its ``__init__``.

    Example:
        >>> made_with('Neck', dict(self=0, width=3, norm=None, __class__=0))
        {'type': 'Neck', 'width': 3}
    """
    own = {k: v for k, v in names.items() if v is not None and k not in ('self', '__class__')}
    return {'type': kind, **own}
