"""Baselines of Delta_m, from a config or a file."""

import json
from collections.abc import Mapping
from pathlib import Path

from mtpeft.evaluation.delta import check_baseline
from mtpeft.evaluation.describe import known_values
from mtpeft.registry import TASKS
from mtpeft.tasks import DenseTask
from mtpeft.utils.kinds import Positive
from mtpeft.utils.suggest import hint

Baselines = Mapping[str, Positive | Mapping[str, Positive]]


def resolve_baselines(
    baselines: Baselines | str | Path, tasks: Mapping[str, DenseTask]
) -> dict[str, dict[str, float]]:
    """Baselines as ``{task: {metric: value}}``, complete and checked.

    Args:
        baselines: A dict from a task to the value of its headline metric, or to a dict of metrics
            (the headline among them); or the path of a JSON file that holds such a dict under
            ``baselines``. One file may serve configs with different tasks: its
            entries for tasks of the registry that are not among ``tasks`` are left out.
        tasks: The tasks that are evaluated.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a task has no baseline; a baseline is for an unknown task or metric, is 0 or
            not finite.
        TypeError: a baseline is not a number.

    Example:
        >>> from mtpeft.tasks import build_tasks
        >>> resolve_baselines(dict(depth=.6), build_tasks(['depth']))
        {'depth': {'rmse': 0.6}}
    """
    source = 'baselines'
    if isinstance(baselines, (str, Path)):
        source = f"baselines file '{baselines}'"
        shared = TASKS.module_dict
        baselines = {k: v for k, v in _read(baselines).items() if k in tasks or k not in shared}
    for name in baselines:
        if name not in tasks:
            raise ValueError(f"{source}: baseline for unknown task '{name}'. " + hint(name, tasks))
    missing = [name for name in tasks if name not in baselines]
    if missing:
        raise ValueError(
            f'{source}: no baseline for {", ".join(map(repr, missing))}; Delta_m needs one for '
            f'every task ({", ".join(tasks)}). Add the single-task value of its headline metric '
            f'(such as {missing[0]}=<{tasks[missing[0]].headline}>), or set baselines=None.'
        )
    return {name: _values(source, task, baselines[name]) for name, task in tasks.items()}


def _read(path: str | Path) -> Mapping:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"baselines file '{path}' does not exist (relative to '{Path.cwd()}'). Expected a "
            "JSON file that holds a dict 'baselines' from task to value."
        )
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"baselines file '{path}' is no JSON ({error}). Expected "
            '{"baselines": {"<task>": <value>, ...}}, as `mtpeft compare` writes it; a dict in the '
            'config does as well.'
        ) from None
    if not isinstance(content, Mapping) or not isinstance(content.get('baselines'), Mapping):
        found = sorted(content) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(
            f"baselines file '{path}': expected a dict 'baselines' from task to value, got {found}."
        )
    return content['baselines']


def _values(source: str, task: DenseTask, given: float | Mapping[str, float]) -> dict[str, float]:
    given = dict(given) if isinstance(given, Mapping) else {task.headline: given}
    valid = known_values(task)
    for metric in given:
        if valid and metric not in valid:
            raise ValueError(
                f"{source}: task '{task.name}' has no metric '{metric}'. " + hint(metric, valid)
            )
    if task.headline not in given:
        raise ValueError(
            f"{source}: task '{task.name}' needs its headline metric '{task.headline}', "
            f'got {sorted(given)}.'
        )
    return {metric: check_baseline(task.name, value) for metric, value in given.items()}
