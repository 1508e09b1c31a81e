"""From a config's ``tasks`` to :class:`DenseTask` objects."""

from collections.abc import Mapping, Sequence

from mtpeft.registry import TASKS
from mtpeft.tasks.dense_task import DenseTask
from mtpeft.utils.kinds import built

TaskSpec = (
    Mapping[str, built('TASKS', 'name', default='the name', trial=True) | DenseTask]
    | Sequence[str | built('TASKS', trial=True) | DenseTask]
)


def build_tasks(spec: TaskSpec) -> dict[str, DenseTask]:
    """Build tasks, in their order.

    Args:
        spec: A dict from a task's name to its options (``type`` defaults to the name), or a list
            of names, options and :class:`DenseTask` objects.

    Returns:
        The tasks keyed by name.

    Raises:
        KeyError: a type is not registered (the nearest names are given).
        ValueError: there is no task, or a name occurs twice.

    Example:
        >>> list(build_tasks(dict(semseg=dict(num_classes=40), depth=dict())))
        ['semseg', 'depth']
    """
    entries = list(spec.items()) if isinstance(spec, Mapping) else [(None, s) for s in spec]
    if not entries:
        raise ValueError('tasks: expected at least one task, got none.')
    tasks: dict[str, DenseTask] = {}
    for name, options in entries:
        task = _build_one(name, options)
        if task.name in tasks:
            raise ValueError(f"Task '{task.name}' occurs twice; names must differ.")
        tasks[task.name] = task
    return tasks


def _build_one(name: str | None, options: str | Mapping | DenseTask) -> DenseTask:
    if isinstance(options, DenseTask):
        return options
    if isinstance(options, str):
        return TASKS.build(dict(type=options))
    options = dict(options)
    if name is not None:
        options.setdefault('type', name)
        options.setdefault('name', name)
    return TASKS.build(options)
