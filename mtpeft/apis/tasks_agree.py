"""Whether model, data sets and evaluators of a config speak of the same tasks."""

from collections.abc import Iterator, Mapping
from typing import Any

from mtpeft.evaluation.describe import known_values
from mtpeft.tasks import DenseTask, build_tasks
from mtpeft.utils.fits import ConfigError
from mtpeft.utils.suggest import hint

#: what of a task all of them read, and what only one does
_SHARED = ('kind', 'channels', 'ignore_value', 'activation')
_READERS = {
    'loss': 'model', 'loss_weight': 'model',
    'metric': 'evaluator', 'headline': 'evaluator', 'lower_is_better': 'evaluator',
    'label_key': 'dataset', 'hflip': 'dataset', 'rotation': 'dataset', 'scaling': 'dataset',
}  # fmt: skip

Place = tuple[str, str, Mapping | list]


def check_tasks(cfg: Mapping) -> None:
    """Compare the tasks of model, data sets and evaluators, where each names its own.

    Raises:
        ConfigError: an evaluator or a data set names a task that the model has not, an evaluator
            one that its data set has not, no training data set has a task of the model; or a task
            differs; or something is set where nothing reads it. Both places are named.
    """
    places = list(_places(cfg))
    models = [place for place in places if place[1] == 'model']
    if not models:
        return
    for place in places[1:]:
        _compare(models[0], place)
    for split in ('val', 'test'):
        _check_names(cfg, places, split)
    _check_trained(models[0], [p for p in places if p[0].startswith('train_dataloader')])


def check_best(cfg: Mapping) -> None:
    """What picks the best checkpoint has to be a figure of the evaluation.

    Raises:
        ConfigError: it is none; the nearest figures are named.
    """
    evaluator, hooks = cfg.get('val_evaluator'), cfg.get('default_hooks') or {}
    best = (hooks.get('checkpoint') or {}).get('save_best')
    if not isinstance(evaluator, Mapping) or evaluator.get('metrics') or best is None:
        return
    tasks = build_tasks(evaluator.get('tasks') or ()) if evaluator.get('tasks') else {}
    figures = {name: known_values(task) for name, task in tasks.items()}
    if not figures or not all(figures.values()):
        return
    valid = [f'{name}/{value}' for name, values in figures.items() for value in values]
    valid += ['auto', 'mtl/delta_m', *(f'mtl/delta/{name}' for name in tasks)]
    for key in [best] if isinstance(best, str) else best:
        if key not in valid and '/IoU/' not in key:
            raise ConfigError(
                f"default_hooks.checkpoint.save_best: '{key}' is no figure of val_evaluator. "
                + hint(key, valid)
            )


def _places(cfg: Mapping) -> Iterator[Place]:
    """(place, who reads it, the tasks there)."""
    model = cfg.get('model')
    if isinstance(model, Mapping) and model.get('tasks'):
        yield 'model.tasks', 'model', model['tasks']
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            yield from _of_dataset(loader.get('dataset'), f'{split}_dataloader.dataset')
        evaluator = cfg.get(f'{split}_evaluator')
        if isinstance(evaluator, Mapping) and evaluator.get('tasks'):
            yield f'{split}_evaluator.tasks', 'evaluator', evaluator['tasks']


def _of_dataset(dataset: Any, place: str) -> Iterator[Place]:
    """The tasks of a data set, or of those that it puts together."""
    if not isinstance(dataset, Mapping):
        return
    if dataset.get('tasks'):
        yield f'{place}.tasks', 'dataset', dataset['tasks']
    yield from _of_dataset(dataset.get('dataset'), f'{place}.dataset')
    for index, inner in enumerate(dataset.get('datasets') or ()):
        yield from _of_dataset(inner, f'{place}.datasets.{index}')


def _compare(model: Place, other: Place) -> None:
    own, tasks = build_tasks(model[2]), build_tasks(other[2])
    for name, task in tasks.items():
        at = f'{other[0]}.{name}'
        if name not in own:
            raise ConfigError(f'{at}: {model[0]} has no such task. {hint(name, own)}')
        for key in _SHARED:
            mine, found = getattr(own[name], key), getattr(task, key)
            if mine != found:
                raise ConfigError(
                    f'{at}: {key} is {found!r}, but {mine!r} in {model[0]}.{name}. Model, data '
                    'sets and evaluator have to agree; write the tasks once and use them in each.'
                )
        _check_read(model, other, name, own[name], task)


def _check_read(model: Place, other: Place, name: str, mine: DenseTask, task: DenseTask) -> None:
    """What is set where nothing reads it has to be what the one who reads it has."""
    for key, reader in _READERS.items():
        if getattr(mine, key) == getattr(task, key):
            continue
        for place, kind, tasks in (model, other):
            # what the other data sets and evaluators have is compared with the model in turn
            if kind != reader and reader in (model[1], other[1]) and key in _written(tasks, name):
                wanted = f'the {reader} reads it' if reader != 'dataset' else 'data sets read it'
                raise ConfigError(
                    f'{place}.{name}.{key}: changes nothing, since only {wanted}: set '
                    f'{(other if reader == other[1] else model)[0]}.{name}.{key}.'
                )


def _written(tasks: Mapping | list, name: str) -> Mapping:
    """What a config says of a task itself."""
    if isinstance(tasks, Mapping):
        return tasks[name] if isinstance(tasks[name], Mapping) else {}
    named = (t for t in tasks if isinstance(t, Mapping) and name in (t.get('name'), t.get('type')))
    return next(named, {})


def _check_names(cfg: Mapping, places: list[Place], split: str) -> None:
    """An evaluator has no figure of a task that its data set knows nothing of."""
    data = [p for p in places if p[0].startswith(f'{split}_dataloader')]
    known = {name for place in data for name in build_tasks(place[2])}
    for place, _, tasks in [p for p in places if p[0].startswith(f'{split}_evaluator')]:
        for name in build_tasks(tasks):
            if data and name not in known:
                raise ConfigError(f'{place}.{name}: {data[0][0]} has no such task. '
                                  + hint(name, known))  # fmt: skip


def _check_trained(model: Place, data: list[Place]) -> None:
    known = {name for place in data for name in build_tasks(place[2])}
    for name in build_tasks(model[2]):
        if data and name not in known:
            raise ConfigError(
                f'{model[0]}.{name}: nothing would train it, {data[0][0]} has no such task. '
                + hint(name, known)
            )
