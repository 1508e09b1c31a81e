"""Configs made comparable: no dropout, and ranks or tasks other than those of the file."""

import copy
import inspect

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mtpeft.adapters.plugins import plugin_items


def plugins_of(cfg: Config) -> list[ConfigDict]:
    """The plugins of a config that are on, whether it has a list of them or names."""
    return list(plugin_items(cfg.model.backbone.get('plugins', ())).values())


def without_dropout(cfg: Config) -> Config:
    """A copy whose network has no stochastic depth and whose adapters have no dropout."""
    cfg = copy.deepcopy(cfg)  # Config.copy keeps what lies deeper
    network = cfg.model.backbone.get('backbone', {})
    if 'drop_path_rate' in network:
        network.drop_path_rate = 0.0
    for plugin in plugins_of(cfg):
        if plugin.cfg.type == 'MTLoRA' or 'dropout' in plugin.cfg:
            plugin.cfg.dropout = 0.0
    return cfg


def with_rank(cfg: Config, rank: int) -> Config:
    """A copy in which every adapter with a ``rank`` has this one; task ranks at most this one."""
    cfg = copy.deepcopy(cfg)  # Config.copy keeps what lies deeper
    for plugin in plugins_of(cfg):
        if 'rank' not in plugin.cfg:
            continue
        plugin.cfg.rank = rank
        if plugin.cfg.get('task_rank') is not None:
            plugin.cfg.task_rank = min(plugin.cfg.task_rank, rank)
    return cfg


def with_size(cfg: Config, size: tuple[int, int]) -> Config:
    """A copy made for pictures of this size, where the config says what it is made for."""
    cfg = copy.deepcopy(cfg)  # Config.copy keeps what lies deeper
    if cfg.model.get('img_size') is not None:
        # spectral filters of another size are interpolated in every pass
        cfg.model.img_size = tuple(size)
    return cfg


def has_rank(cfg: Config) -> bool:
    """Does an adapter of the config have the option ``rank``?"""
    return any('rank' in plugin.cfg for plugin in plugins_of(cfg))


def with_copies(cfg: Config, count: int, task: str = 'normals') -> Config:
    """A copy whose tasks are ``count`` copies of one, ``normals_1``, ``normals_2``, ..."""
    names = [f'{task}_{i + 1}' for i in range(count)]
    return with_tasks(cfg, {name: dict(type=task, name=name) for name in names})


def with_tasks(cfg: Config, tasks: dict) -> Config:
    """A copy with other tasks; heads and weights of single tasks are dropped."""
    cfg = copy.deepcopy(cfg)  # Config.copy keeps what lies deeper
    cfg.model.tasks = tasks
    if 'tasks' in cfg.model.backbone:
        cfg.model.backbone.tasks = list(tasks)
    cfg.model.decoder.pop('heads', None)
    if cfg.model.get('loss_weighting'):
        cfg.model.loss_weighting.pop('weights', None)
    return cfg


def wake(model: nn.Module) -> nn.Module:
    """Fill trained tensors that start at 0 with small numbers: products of 0 would hide faults."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.01)
    return model


def can_merge(model: nn.Module) -> bool:
    """Has the model ``merge_adapters()``?"""
    return callable(getattr(model, 'merge_adapters', None))


def merge(model: nn.Module) -> nn.Module:
    """The model with its adapters merged for good, so that their memory is free.

    Raises:
        ValueError: it has no ``merge_adapters()``.
    """
    if not can_merge(model):
        raise ValueError(
            f'{type(model).__name__} has no merge_adapters(), so there is no merged inference to '
            'measure; leave --merged out.'
        )
    model.merge_adapters(reversible=False)
    return model


def can_choose_tasks(model: nn.Module) -> bool:
    """Can the model be asked for some of its tasks, ``model(inputs, tasks=[...])``?"""
    return 'tasks' in inspect.signature(type(model).forward).parameters


def difference(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """Largest difference of any task's logits, over the largest value of that task's."""
    return max(
        ((got[name] - x).abs().max() / x.abs().max()).item()
        for name, x in wanted.items()
        if name in got
    )
