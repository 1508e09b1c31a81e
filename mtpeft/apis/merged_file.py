"""Merged models as files: what they hold, and how a model is built for one."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import compact
from mtpeft.apis.segmentor import build_model, merge_parts
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.model_state import load_checked
from mtpeft.checkpoints.plain_config import noted_config
from mtpeft.models.requested import tied_tasks
from mtpeft.tasks import build_tasks
from mtpeft.utils.paths import without_folders
from mtpeft.utils.requested import requested_tasks

_SHOWN = 4


def is_merged(saved: Mapping) -> bool:
    """Is what :func:`~mtpeft.checkpoints.files.safe_load` gave of a merged model?"""
    return 'merged' in (saved.get('meta') or {})


def merged_state(
    cfg: Config, model: nn.Module, tasks: Sequence[str] | None = None
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    """Merge a trained model for a file, all of it or some tasks.

    Args:
        cfg: The config of the model.
        model: The model, with its weights; it is merged for good where all tasks are kept.
        tasks: Names of the tasks to keep, all by default.

    Returns:
        The merged model, its state dict, and the file's metadata: ``merged`` (what was done with
        each layer), ``tasks`` (none of a segmentor of mmsegmentation), ``config`` (its text) and,
        where JSON can hold it, ``model_config``.

    Raises:
        KeyError: an unknown task.
        ValueError: tasks cannot be left out, since others read them.
    """
    own = getattr(model, 'tasks', None)
    if own is None and tasks is not None:
        raise ValueError(f'{type(model).__name__} has no tasks to keep some of, got {list(tasks)}.')
    wanted = () if own is None else requested_tasks(tasks, own)
    if wanted != tuple(own or ()):
        model = _with_tasks(cfg, model, wanted)
    report = merge_parts(model)
    meta = dict(merged=_done(report), tasks=list(wanted), config=without_folders(cfg.pretty_text))
    meta |= noted_config(cfg, None if wanted else getattr(model, 'dataset_meta', None))
    return model, model.state_dict(), meta


def load_merged(cfg: Config, saved: Mapping, what: str) -> nn.Module:
    """The merged model of a file: built of its config, merged, and loaded strictly.

    Args:
        cfg: The config that the model was trained with.
        saved: What :func:`~mtpeft.checkpoints.files.safe_load` gave.
        what: The file, for messages.

    Raises:
        CheckpointError: the file is of another config, or was merged by other rules.
    """
    meta = saved['meta']
    tasks = cfg.model.get('tasks')
    known, names = build_tasks(tasks) if tasks else {}, meta.get('tasks')
    if not isinstance(names, list) or bool(names) != bool(known) or not set(names) <= set(known):
        raise CheckpointError(
            f'{what} is a merged model of the tasks {names}, and the config has '
            f'{list(known)}. Use the config it was trained with.'
        )
    model = build_model(_restricted(cfg, names) if names else cfg)
    done, own = meta['merged'], _done(merge_parts(model))
    if own != done:
        keys = set(done) if isinstance(done, Mapping) else set()
        differing = sorted(k for k in keys | set(own) if k not in keys or own.get(k) != done[k])
        shown = ', '.join(differing[:_SHOWN]) + (' ...' if len(differing) > _SHOWN else '')
        raise CheckpointError(
            f'{what} was merged otherwise than the config says ({len(differing)} layers, such as '
            f'{shown}). Use the config it was trained with, and the version of mtpeft that merged '
            'it, or merge the checkpoint again (`mtpeft merge`).'
        )
    load_checked(model, saved['state_dict'], what)
    return compact(model)


def _done(report: Any) -> dict[str, str]:
    return {name: done for name, _, done, _ in report.rows}


def _with_tasks(cfg: Config, model: nn.Module, tasks: Sequence[str]) -> nn.Module:
    """A model of some tasks with the weights of one of all."""
    ties = tied_tasks(model)
    if ties:
        raise ValueError(
            f'No task can be left out of this model, since tasks read one another '
            f'({"; ".join(ties)}): only heads would be saved. Keep all tasks in the file and ask '
            f'for some when it is used: MultiTaskInferencer(model, tasks={list(tasks)}).'
        )
    new = build_model(_restricted(cfg, tasks))
    state, own = model.state_dict(), new.state_dict()
    load_checked(new, {key: value for key, value in state.items() if key in own}, 'The model')
    return compact(new)


def _restricted(cfg: Config, tasks: Sequence[str]) -> Config:
    """The config with some of its tasks."""
    cfg = copy.deepcopy(cfg)
    model = cfg.model
    names = list(build_tasks(model.tasks))
    if list(tasks) == names:
        return cfg
    if isinstance(model.tasks, Mapping):
        keys = dict(zip(model.tasks, names, strict=True))
        model.tasks = {key: model.tasks[key] for key, name in keys.items() if name in tasks}
    else:
        model.tasks = [t for t, name in zip(model.tasks, names, strict=True) if name in tasks]
    if model.backbone.get('tasks'):
        model.backbone.tasks = [name for name in model.backbone.tasks if name in tasks]
    for part, option in (('decoder', 'heads'), ('loss_weighting', 'weights')):
        by_task = (model.get(part) or {}).get(option)
        for name in set(by_task or ()) - set(tasks):
            del by_task[name]
    return cfg
