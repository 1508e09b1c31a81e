"""What belongs to one forward pass. It is kept for the thread that makes the pass, not on modules.

Two threads may share a model, and a hook may run another model within a pass: each pass sees its
own values. They lie in a ``threading.local``, since ``torch.compile`` can trace that and cannot
trace the ``set`` of a ``contextvars.ContextVar`` (torch 2.14).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


class _Pass(threading.local):
    """The values of the pass that this thread makes.

    Attributes:
        stream: What carries the adapted layers of the block that runs (see
            :mod:`mtpeft.adapters.lanes.passes`); ``None``: the shared stream alone.
        size: (H, W) of the map that the stage's tokens are of; ``None``: not known.
        prefix: Tokens before those of the map.
        places: What the attention of every block takes for the places of its tokens (rotary
            positions, a shared bias).
        attended: Task tokens or prompts that windows attend to.
        rest: What modules take besides their input, ``(args, options)`` by ``id``.
        prepared: What is formed of weights is up to date; a compiled graph need not compare.
    """

    stream: Any = None
    size: tuple[int, int] | None = None
    prefix: int = 0
    places: Any = None
    attended: Any = None
    rest: dict[int, tuple[tuple, dict]] = {}
    prepared: bool = False


now = _Pass()

_START = dict(stream=None, size=None, prefix=0, places=None, attended=None, rest={})


@contextmanager
def within(**values: Any) -> Iterator[None]:
    """Set values of the pass, and put back what was there.

    Example:
        >>> with within(size=(2, 3)):
        ...     now.size
        (2, 3)
    """
    before = {name: getattr(now, name) for name in values}
    for name, value in values.items():
        setattr(now, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(now, name, value)


def new_pass() -> Any:
    """A context in which a pass starts, whatever pass it lies in."""
    return within(**_START)


def of_this_pass(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as it runs now, whichever thread calls it later.

    A block that is recomputed in the backward pass runs behind its pass, on a GPU in another
    thread.
    """
    values = {name: getattr(now, name) for name in _START}

    def run(*inputs: Tensor) -> Any:
        with within(**values):
            return function(*inputs)

    return run
