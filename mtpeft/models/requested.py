"""Which tasks each part of a model has to compute, so that some of them can be had."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.prompts import PromptStream

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


def tied_tasks(model: nn.Module) -> list[str]:
    """Why no task of ``model`` can be left out: what reads the streams of several."""
    backbone = model.backbone
    ties = [
        type(neck).__name__
        for neck in model.necks
        if getattr(neck, 'reads_others', False)
        or (getattr(backbone, 'tasks', None) and not _knows(type(neck).forward))
    ]
    stream = getattr(backbone, 'token_stream', None)
    if stream is not None and not isinstance(stream, PromptStream):
        ties.append(f'{type(stream).__name__}: patches attend to the tokens of all tasks')
    layers = backbone.adapter_layers() if isinstance(backbone, AdapterBackbone) else {}
    made_of_lanes = {
        type(layer.adapter).__name__
        for layer in layers.values()
        if layer.adapter.coupling.read_by_shared
    }
    return ties + [f'{name}: its shared stream is made of the lanes' for name in made_of_lanes]


def check_untied(model: nn.Module, what: str) -> None:
    """Refuse weights that were trained beside tasks which ``model`` does not have, and read them.

    Raises:
        ValueError: tasks read one another.
    """
    ties = tied_tasks(model)
    if ties:
        raise ValueError(
            f'{what} is of more tasks than the config, and tasks of this model read one another '
            f'({"; ".join(ties)}): alone they predict something else. Keep all tasks in the '
            'config.'
        )


def call(part: nn.Module, x: Any, tasks: Asked, **options: Any) -> Any:
    """``part`` of ``x``, for ``tasks``."""
    return part(x, **options) if tasks is None else part(x, tasks=tasks, **options)


@functools.cache
def _knows(forward: Callable) -> bool:
    return 'tasks' in inspect.signature(forward).parameters
