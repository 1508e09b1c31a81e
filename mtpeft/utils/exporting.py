"""What is asked while a graph is exported, for other runtimes."""

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

# torch 2.6 cannot tell
_is_exporting = getattr(torch.compiler, 'is_exporting', lambda: False)


def exported() -> bool:
    """Is a graph made now for another runtime, which knows fewer operators than PyTorch?"""
    return _is_exporting()


def surely_below(a: int, b: int) -> bool:
    """Is a length below another one, whatever the sizes that a graph leaves open?

    Example:
        >>> surely_below(3, 4), surely_below(4, 4)
        (True, False)
    """
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return statically_known_true(a < b)


def surely_equal(a: int, b: int) -> bool:
    """Are two lengths equal, whatever the sizes that a graph leaves open?

    Comparing them would fix these sizes.

    Example:
        >>> surely_equal(3, 3), surely_equal(3, 4)
        (True, False)
    """
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return statically_known_true(a == b)
