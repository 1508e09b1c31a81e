"""The tasks of a run, set in every place of a config that has them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mtpeft.apis.engine_options import RUN
from mtpeft.registry import TASKS
from mtpeft.utils.fits import ConfigError, ConfigKeyError
from mtpeft.utils.suggest import hint

_SPLITS = ('train', 'val', 'test')


def mappings(value: Any) -> Iterator[Any]:
    """Every dict in a value, at any depth."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from mappings(inner)


def task_names(cfg: Mapping) -> list[str]:
    """Names of all tasks that model, data sets and evaluators of a config have, in their order.

    Example:
        >>> task_names(dict(model=dict(tasks=['depth', dict(type='semseg', num_classes=2)])))
        ['depth', 'semseg']
    """
    return list(dict.fromkeys(name for holder in _holders(cfg) for name in _table(holder['tasks'])))


def set_tasks(cfg: Config, names: Sequence[str]) -> None:
    """Train and judge these tasks, in this order; see :func:`mtpeft.apis.data_options.set_data`.

    Raises:
        ConfigError: nothing of the config has tasks, a name is not known or occurs twice.
    """
    holders = list(_holders(cfg))
    if not holders:
        raise ConfigError('--tasks: neither the model nor a data set of this config has tasks.')
    known: dict[str, Any] = {}
    for holder in holders:
        for name, options in _table(holder['tasks']).items():
            known.setdefault(name, options)
    for name in names:
        if name not in known and name not in TASKS.module_dict:
            TASKS.import_from_location()
        if name not in known and name not in TASKS.module_dict:
            raise ConfigKeyError(
                f"--tasks: there is no task '{name}'. {hint(name, [*known, *TASKS.module_dict])}"
            )
    if len(set(names)) != len(names):
        raise ConfigError(f'--tasks: expected different names, got {", ".join(names)}.')
    if list(names) == list(known):
        return
    for holder in holders:
        own = _table(holder['tasks'])
        wanted = {name: own.get(name, known.get(name, {})) for name in names}
        holder['tasks'] = ConfigDict(wanted)
    for key in RUN:
        if isinstance(cfg.get(key), Mapping | list):
            _keep(cfg[key], set(known), names)
    _drop_baselines(cfg, names)
    _drop_best(cfg, known, names)


def _holders(cfg: Mapping) -> Iterator[Any]:
    """The dicts that have ``tasks`` of their own: model, data sets, evaluators."""
    model = cfg.get('model')
    if isinstance(model, Mapping) and model.get('tasks'):
        yield model
    for split in _SPLITS:
        yield from (spec for spec in mappings(cfg.get(f'{split}_dataloader')) if spec.get('tasks'))
        evaluator = cfg.get(f'{split}_evaluator')
        if isinstance(evaluator, Mapping) and evaluator.get('tasks'):
            yield evaluator


def _table(spec: Any) -> dict[str, Any]:
    """A task spec as a dict by name."""
    if isinstance(spec, Mapping):
        return dict(spec)
    table = {}
    for entry in spec:
        if isinstance(entry, str):
            table[entry] = {}
        elif isinstance(entry, Mapping):
            options = {k: v for k, v in entry.items() if k != 'name'}
            table[entry.get('name', entry.get('type'))] = options
        else:
            table[entry.name] = entry
    return table


def _keep(node: Any, known: set[str], names: Sequence[str]) -> None:
    """Of tables and lists by task, keep the tasks that are wanted."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in list(items):
        if key == 'tasks' and isinstance(value, Mapping):
            continue
        if isinstance(value, Mapping) and value and set(value) <= known:
            node[key] = ConfigDict({k: v for k, v in value.items() if k in names})
        elif isinstance(value, list) and value and all(_is_one_of(v, known) for v in value):
            node[key] = [v for v in value if v in names]
        elif isinstance(value, Mapping | list):
            _keep(value, known, names)


def _is_one_of(value: Any, names: set[str]) -> bool:
    return isinstance(value, str) and value in names


def _drop_baselines(cfg: Config, names: Sequence[str]) -> None:
    for evaluator in (cfg.get('val_evaluator'), cfg.get('test_evaluator')):
        if not isinstance(evaluator, Mapping) or not isinstance(
            evaluator.get('baselines'), Mapping
        ):
            continue
        without = [name for name in names if name not in evaluator['baselines']]
        if without:
            print_log(
                f'--tasks: the config has no baseline for {", ".join(without)}, so there is no '
                'Delta_m.', logger='current',
            )  # fmt: skip
            evaluator['baselines'] = None


def _drop_best(cfg: Config, known: Mapping, names: Sequence[str]) -> None:
    """What picked the best checkpoint may be gone."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = hook.get('save_best')
    evaluator = cfg.get('val_evaluator')
    has_delta = isinstance(evaluator, Mapping) and evaluator.get('baselines') is not None

    def stays(figure: str) -> bool:
        task, _, rest = figure.partition('/')
        if task == 'mtl':
            return has_delta and (rest == 'delta_m' or rest.split('/')[-1] in names)
        return task not in known or task in names

    if isinstance(best, str) and not stays(best):
        hook['save_best'] = None
    elif isinstance(best, list):
        _filter_best(hook, stays)


def _filter_best(hook: Any, stays: Callable[[str], bool]) -> None:
    rules = hook.get('rule')
    rules = rules if isinstance(rules, list) else [rules] * len(hook['save_best'])
    left = [(k, r) for k, r in zip(hook['save_best'], rules, strict=False) if stays(k)]
    hook['save_best'] = [key for key, _ in left] or None
    hook['rule'] = [rule for _, rule in left] if left and left[0][1] else None
