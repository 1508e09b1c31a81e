"""Options of stock networks that have a value for each stage."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

#: names under which classes of timm say how many blocks each stage has
_COUNTS = ('depths', 'layers', 'stages', 'num_stages')


def check_stages(network: Callable, options: Mapping[str, Any]) -> None:
    """Refuse lists with more or fewer values than there are stages.

    timm reads only as many values as it has stages, so one too many would change nothing. Which
    options have a value a stage is told by the defaults of the class: those that are as long as
    that of ``depths``.

    Args:
        network: A class, or a function that says by its annotation which class it returns.
        options: What it would be called with.

    Raises:
        ValueError: the option, both lengths and what they are compared with are named.

    Example:
        >>> from timm.models import SwinTransformer
        >>> check_stages(SwinTransformer, dict(depths=(1, 1), num_heads=(2, 2, 4)))
        Traceback (most recent call last):
        ...
        ValueError: num_heads: expected 2 values, one a stage (depths), got 3: (2, 2, 4).
    """
    defaults = {n: v for n, v in _defaults(network).items() if isinstance(v, list | tuple)}
    count = next((name for name in _COUNTS if name in defaults), None)
    if count is None:
        return
    stages = options.get(count, defaults[count])
    for name, value in options.items():
        if len(defaults.get(name, ())) != len(defaults[count]):
            continue
        if isinstance(value, list | tuple) and len(value) != len(stages):
            raise ValueError(
                f'{name}: expected {len(stages)} values, one a stage ({count}), got {len(value)}: '
                f'{tuple(value)}.'
            )


def _defaults(network: Callable) -> dict[str, Any]:
    """Defaults of the options of a class, or of the one that a function returns."""
    if not inspect.isclass(network):
        try:
            network = typing.get_type_hints(network).get('return')
        except NameError:
            return {}
    if not inspect.isclass(network):
        return {}
    return {name: p.default for name, p in inspect.signature(network).parameters.items()}
