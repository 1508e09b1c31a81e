"""Which component of a model its trainable parameters belong to."""

from collections.abc import Mapping

from torch import nn

from mtpeft.adapters.ranks.low_rank import low_rank_adapters

#: Components that make up the decoder.
decoder_components = ('projections', 'heads', 'shared_base')


def parameter_components(model: nn.Module) -> dict[str, int]:
    """Count the trainable parameters of ``model`` by component.

    A module says which of its parameters make up which component by a method
    ``parameter_components() -> dict[str, list[str]]``, with names as in its own
    ``named_parameters()``. Where a module and one inside it both do, the outer one decides.
    Parameters nobody names are ``'other'``. A parameter that occurs twice counts once; components
    without trainable parameters are left out.

    Returns:
        Number of parameters by component; the sum is the number of trainable parameters.

    Raises:
        KeyError: a module names a parameter it does not have.

    Example:
        >>> from mtpeft.models import ProjectionNeck
        >>> neck = ProjectionNeck((2, 4), tasks=['sal'], out_channels=(1, 1))
        >>> parameter_components(nn.Sequential(neck, nn.Linear(1, 1)))
        {'projections': 6, 'other': 2}
    """
    return _count(model, {})


def effective_components(model: nn.Module) -> dict[str, int]:
    """As :func:`parameter_components`, without the numbers of pruned components of adapters.

    The sum is the number of trainable parameters less
    :func:`mtpeft.adapters.ranks.low_rank.pruned_parameters`.
    """
    return _count(model, _pruned(model))


def trainable_parameters(model: nn.Module) -> tuple[int, int]:
    """How many numbers of ``model`` train, and how many it has, each parameter once.

    Example:
        >>> trainable_parameters(nn.Linear(3, 2).requires_grad_(False))
        (0, 8)
    """
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def _count(model: nn.Module, less: Mapping[int, int]) -> dict[str, int]:
    component = _components(model)
    counts: dict[str, int] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            kind = component.get(id(parameter), 'other')
            number = parameter.numel() - less.get(id(parameter), 0)
            counts[kind] = counts.get(kind, 0) + number
    return counts


def _pruned(model: nn.Module) -> dict[int, int]:
    """How many numbers of a parameter belong to pruned components, by identity."""
    pruned = {}
    for adapter in low_rank_adapters(model).values():
        for group in adapter.groups.values():
            room = group.rank * len(group.streams)
            for parameter in group.parameters.values():
                one = parameter.numel() // room
                pruned[id(parameter)] = (room - sum(group.active)) * one
    return pruned


def _components(model: nn.Module) -> dict[int, str]:
    """The component of each parameter that a module names, by identity."""
    component: dict[int, str] = {}
    for path, module in model.named_modules():
        method = getattr(module, 'parameter_components', None)
        if method is None:
            continue
        own = dict(module.named_parameters(remove_duplicate=False))
        claims = {
            _identity(own, name, path): kind for kind, names in method().items() for name in names
        }
        for key, kind in claims.items():
            component.setdefault(key, kind)
    return component


def _identity(own: dict[str, nn.Parameter], name: str, path: str) -> int:
    if name not in own:
        raise KeyError(f"parameter_components() of '{path}' names a missing parameter '{name}'.")
    return id(own[name])
