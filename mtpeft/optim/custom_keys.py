"""``custom_keys`` of an optimizer's ``paramwise_cfg``, which are those of the state dict."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from mtpeft.adapters.stacked_state import StackedState
from mtpeft.utils.fits import ConfigKeyError
from mtpeft.utils.suggest import nearest


@dataclass(frozen=True)
class Stacked:
    """A parameter that is stacked over tasks, ``(T, ...)``.

    Attributes:
        name: Of the parameter, as the model names it.
        parameter: The parameter.
        tasks: Names of its T tasks.
    """

    name: str
    parameter: nn.Parameter
    tasks: tuple[str, ...]

    def keys(self) -> list[str]:
        """Its keys in the state dict, one a task."""
        return [f'{self.name}.{task}' for task in self.tasks]


def stacked_parameters(model: nn.Module) -> Iterator[Stacked]:
    """Parameters of a model that are stacked over tasks, with the names of these."""
    for prefix, module in model.named_modules():
        if isinstance(module, StackedState):
            for name, parameter in module.lane_parameters().items():
                yield Stacked(
                    f'{prefix}.{name}' if prefix else name, parameter, tuple(module.tasks)
                )


def key_for(name: str, custom_keys: Mapping[str, Mapping]) -> str | None:
    """The custom key that counts for a name: the longest of those that are a part of it.

    Example:
        >>> key_for('decoder.heads.depth.weight', {'decoder': {}, 'heads.depth': {}})
        'heads.depth'
    """
    found = [key for key in custom_keys if key in name]
    return min(found, key=lambda key: (-len(key), key)) if found else None


def check_custom_keys(model: nn.Module, custom_keys: Mapping[str, Mapping]) -> None:
    """Refuse custom keys that are part of no name.

    Raises:
        ConfigKeyError: such a key; the nearest names are given.

    Example:
        >>> check_custom_keys(nn.Linear(2, 2), {'wieght': dict(lr_mult=.1)})
        Traceback (most recent call last):
        ...
        mtpeft.utils.fits.ConfigKeyError: optim_wrapper.paramwise_cfg.custom_keys: 'wieght' is ...
    """
    names = [name for name, _ in model.named_parameters()]
    for stacked in stacked_parameters(model):
        names += stacked.keys()
    for key in custom_keys:
        if not any(key in name for name in names):
            raise ConfigKeyError(
                f"optim_wrapper.paramwise_cfg.custom_keys: '{key}' is part of no name of a "
                f'parameter. {_near(key, names)}'
            )


def _near(key: str, names: list[str]) -> str:
    """The parts of names that look most like a key, with as many pieces as it has."""
    number = key.count('.') + 1
    pieces = (name.split('.') for name in names)
    parts = {'.'.join(p[i : i + number]) for p in pieces for i in range(len(p) - number + 1)}
    close = nearest(key, sorted(parts))
    if close:
        return f'Did you mean {" or ".join(map(repr, close))}?'
    return f'Names are such as {names[0]} and {names[-1]}.'
