"""Which tasks each part of a model has to compute, so that some of them can be had."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

Asked = tuple[str, ...] | None


def asked_of(parts: Sequence[nn.Module], tasks: Asked) -> list[Asked]:
    """What each part is asked for, so that the last gives ``tasks``.

    A part whose ``forward`` has no option ``tasks``, or that has no tasks itself, gives everything
    and gets everything. A neck whose streams read one another says by ``streams_for(tasks)`` which
    it needs.

    Args:
        parts: Backbone, necks and decoder, in the order of a pass.
        tasks: Names; ``None`` for all.

    Returns:
        Names for each part, ``None`` for all.
    """
    if tasks is None:
        return [None] * len(parts)
    asked, wanted = [], tasks
    for part in reversed(parts):
        of_tasks = _knows(type(part).forward) and getattr(part, 'tasks', True)
        wanted = wanted if of_tasks else None
        asked.append(wanted)
        if wanted is not None and hasattr(part, 'streams_for'):
            wanted = part.streams_for(wanted)
    return asked[::-1]


def call(part: nn.Module, x: Any, tasks: Asked, **options: Any) -> Any:
    """``part`` of ``x``, for ``tasks``."""
    return part(x, **options) if tasks is None else part(x, tasks=tasks, **options)


@functools.cache
def _knows(forward: Callable) -> bool:
    return 'tasks' in inspect.signature(forward).parameters
