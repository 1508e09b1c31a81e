"""Weights of another set of tasks or classes: what fits is kept, the rest starts anew."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from mtpeft.checkpoints.model_state import frozen_state_keys

_HEADS = 'decoder.'


class Differences(NamedTuple):
    """Where a file and a model part.

    Attributes:
        new: Trained entries of the model that the file does not have.
        gone: Entries of the file that the model does not have.
        other: Entries of another shape in the file (of an adapter, all that belong to them).
    """

    new: list[str]
    gone: list[str]
    other: list[str]


def load_partly(model: nn.Module, state: Mapping[str, Tensor]) -> Differences:
    """Load what of ``state`` fits ``model``; the rest of the model stays as it is.

    Parameters that are stacked over tasks have an entry for each task, so those of a task that
    stays are the file's, bit for bit, whatever tasks come, go or change places.

    Raises:
        RuntimeError: an entry cannot be loaded for another reason than its shape.
    """
    own = model.state_dict()
    gone = [key for key in state if key not in own]
    kept = {key: value for key, value in state.items() if key in own}
    other: list[str] = []
    while True:
        try:
            model.load_state_dict(kept, strict=False)
            break
        except RuntimeError as error:
            misfits = [key for key in _named(str(error)) if key in kept]
            if not misfits:
                raise
            together = {k for key in misfits for k in _together(key, kept)}
            other += [key for key in kept if key in together]
            kept = {key: value for key, value in kept.items() if key not in together}
    frozen = frozen_state_keys(model)
    new = [key for key in own if key not in state and key not in frozen]
    return Differences(new, gone, other)


def from_segmentor(state: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """``state`` of a segmentor of mmsegmentation with its head as that of our task ``semseg``.

    Args:
        state: State dict.
        own: Keys of the model that it is for; nothing is changed where it has no such head.

    Example:
        >>> list(from_segmentor({'decode_head.conv_seg.bias': 0}, ['decoder.heads.semseg.x']))
        ['decoder.heads.semseg.conv_seg.bias']
    """
    there = 'decoder.heads.semseg.'
    if not any(key.startswith(there) for key in own):
        return dict(state)
    return {re.sub(r'^decode_head\.', there, key): value for key, value in state.items()}


def _named(message: str) -> list[str]:
    """The entries that an error of ``load_state_dict`` names."""
    return re.findall(r'^\s*(?:size mismatch for )?([\w.]+): ', message, re.M)


def _together(key: str, state: Iterable[str]) -> list[str]:
    """Entries that mean nothing without one another: of an adapter, those of one stream."""
    layer, found, name = key.partition('.adapter.')
    if not found:
        return [key]
    _, _, stream = name.partition('.')
    start = f'{layer}.adapter.'
    return [k for k in state if k.startswith(start) and k[len(start) :].partition('.')[2] == stream]


def of_tasks(found: Differences, own: Iterable[str], theirs: Iterable[str]) -> bool:
    """Do a file and a model differ in nothing but their tasks, and the heads of those that stay?

    Args:
        found: The differences.
        own: Tasks of the model.
        theirs: Tasks of the file.
    """
    own, theirs = set(own), set(theirs)
    come, go = own - theirs, theirs - own
    return (
        all(come & set(key.split('.')) for key in found.new)
        and all(go & set(key.split('.')) for key in found.gone)
        and all(key.startswith(_HEADS) and own & set(key.split('.')) for key in found.other)
    )


def of_some_tasks(
    state: Mapping[str, Tensor], own: Iterable[str], theirs: Iterable[str]
) -> dict[str, Tensor]:
    """``state`` of a model of more tasks without the entries of those that a model does not have.

    Args:
        state: The state dict.
        own: Tasks of the model.
        theirs: Tasks of the file; unless they are ``own`` and more, nothing is left out.

    Example:
        >>> of_some_tasks({'heads.sal': 1, 'heads.depth': 2}, ['depth'], ['sal', 'depth'])
        {'heads.depth': 2}
    """
    own, theirs = set(own), set(theirs)
    others = theirs - own if own <= theirs else set()
    return {key: value for key, value in state.items() if not others & set(key.split('.'))}


def describe(found: Differences) -> str:
    """What was not loaded, one line each, with layers under one name.

    Example:
        >>> keys = ['layers.0.fc.adapter.task_A.sal', 'layers.1.fc.adapter.task_A.sal']
        >>> print(describe(Differences(keys, [], ['decoder.heads.semseg.conv2.bias'])))
        starts anew, since the file does not have it:
          layers.*.fc.adapter.task_A.sal (2)
        starts anew, since it has another shape in the file:
          decoder.heads.semseg.conv2.bias
    """
    titles = (
        'starts anew, since the file does not have it:',
        'is left out, since the model does not have it:',
        'starts anew, since it has another shape in the file:',
    )
    lines = []
    for title, keys in zip(titles, found, strict=True):
        counts: dict[str, int] = {}
        for key in keys:
            name = re.sub(r'\.\d+(?=\.)', '.*', key)
            counts[name] = counts.get(name, 0) + 1
        lines += [title] if counts else []
        lines += [f'  {n}' + (f' ({count})' if count > 1 else '') for n, count in counts.items()]
    return '\n'.join(lines)


def tasks_of(checkpoint: Mapping[str, Any]) -> list[str]:
    """The tasks of a checkpoint, as far as it says them."""
    return list((checkpoint.get('meta') or {}).get('tasks') or ())
