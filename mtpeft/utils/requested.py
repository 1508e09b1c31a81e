"""Some of the tasks, by name."""

from collections.abc import Iterable, Sequence

from mtpeft.utils.suggest import hint


def requested_tasks(
    tasks: Sequence[str] | None, valid: Iterable[str], owner: str = 'The model'
) -> tuple[str, ...]:
    """The names ``tasks`` asks for, in the order of ``valid``; all for ``None``.

    Raises:
        KeyError: one is unknown (the nearest names are given).
        TypeError: one name instead of several.
        ValueError: none.

    Example:
        >>> requested_tasks(['sal', 'depth'], ['depth', 'edge', 'sal'])
        ('depth', 'sal')
    """
    valid = tuple(valid)
    if tasks is None:
        return valid
    if isinstance(tasks, str):
        raise TypeError(f"Expected names of tasks in a list, got '{tasks}': write ['{tasks}'].")
    tasks = tuple(tasks)
    for name in tasks:
        if name not in valid:
            raise KeyError(f"{owner} has no task '{name}'. " + hint(str(name), valid))
    if not tasks:
        raise ValueError('Expected at least one task, got an empty list; None means all.')
    return tuple(name for name in valid if name in tasks)


def positions(tasks: Sequence[str] | None, valid: Sequence[str]) -> tuple[int, ...] | None:
    """Places of ``tasks`` in ``valid``; ``None`` for all of them."""
    if tasks is None or len(tasks) == len(valid):
        return None
    return tuple(valid.index(name) for name in tasks)
