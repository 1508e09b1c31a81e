"""Weight decay for matrices and kernels only."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mtpeft.optim.custom_keys import check_custom_keys, key_for, stacked_parameters
from mtpeft.optim.task_rates import set_task_rates
from mtpeft.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FlatNoDecayConstructor:
    """Optimizer in two groups: weight decay for parameters with two or more axes, none for others.

    Biases, norms, DoRA magnitudes and every other parameter with at most one axis are not decayed;
    relative-position tables, two axes, are. The task axis of stacked task parameters does not
    count. Frozen parameters are left out. MMEngine's
    ``paramwise_cfg=dict(flat_decay_mult=0.)`` decays alike, but with one group a parameter and
    one line of log for each, frozen ones included.

    With ``custom_keys``, parameters with other rates or decays have groups of their own. Keys are
    parts of names as they stand in the state dict, so one may name a task of a stacked parameter,
    see :class:`~mtpeft.optim.TaskwiseConstructor`.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: ``custom_keys`` alone: ``{part of a name: dict(lr_mult=...,
            decay_mult=...)}``. Of several that fit the longest counts.

    Raises:
        ConfigKeyError: a custom key is part of no name (the nearest names are given).
        ValueError: ``paramwise_cfg`` has something else, or nothing is trainable.

    Example:
        >>> import torch
        >>> build = FlatNoDecayConstructor(dict(optimizer=dict(type='AdamW', lr=1e-3)))
        >>> wrapper = build(torch.nn.Linear(3, 2))
        >>> [g['weight_decay'] for g in wrapper.optimizer.param_groups]
        [0.01, 0.0]
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        others = set(paramwise_cfg or {}) - {'custom_keys'}
        if others:
            raise ValueError(
                f'FlatNoDecayConstructor: expected paramwise_cfg with custom_keys alone, got '
                f'{", ".join(sorted(others))} too. Use '
                "constructor='DefaultOptimWrapperConstructor' with "
                'paramwise_cfg=dict(flat_decay_mult=0.0, ...) for these.'
            )
        self.wrapper = dict(optim_wrapper_cfg)
        self.optimizer = dict(self.wrapper.pop('optimizer'))
        self.custom_keys = dict((paramwise_cfg or {}).get('custom_keys') or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        groups = param_groups(model)
        if not groups:
            raise ValueError('Nothing to optimise: no parameter of the model is trainable.')
        if self.custom_keys:
            check_custom_keys(model, self.custom_keys)
            groups = keyed_groups(
                model, groups, self.custom_keys, _base_of(self.optimizer, 'lr'),
                _base_of(self.optimizer, 'weight_decay'),
            )  # fmt: skip
        optimizer = OPTIMIZERS.build(dict(self.optimizer, params=groups))
        if self.custom_keys:
            set_task_rates(optimizer, model, self.custom_keys, _base_of(self.optimizer, 'lr'))
        wrapper = dict(self.wrapper)
        wrapper.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))


def _base_of(optimizer: Mapping[str, Any], name: str) -> float:
    """A number of an optimizer's config, or its default."""
    if name in optimizer:
        return optimizer[name]
    kind = optimizer['type']
    return (
        inspect.signature(OPTIMIZERS.get(kind) if isinstance(kind, str) else kind)
        .parameters[name]
        .default
    )


def keyed_groups(
    model: nn.Module,
    groups: list[dict[str, Any]],
    custom_keys: Mapping[str, Mapping],
    lr: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """The groups of :func:`param_groups`, with groups of their own for what custom keys name.

    A stacked parameter of which a key names a task is alone in its group.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    alone = {
        id(stacked.parameter)
        for stacked in stacked_parameters(model)
        if len({key_for(name, custom_keys) for name in [stacked.name, *stacked.keys()]}) > 1
    }
    found: dict[tuple, dict[str, Any]] = {}
    for number, group in enumerate(groups):
        for parameter in group['params']:
            key = key_for(names[id(parameter)], custom_keys)
            own = id(parameter) if id(parameter) in alone else None
            into = found.setdefault((number, key, own), {**group, 'params': []})
            into['params'].append(parameter)
            for option, value in custom_keys[key].items() if key else ():
                if option == 'lr_mult':
                    into['lr'] = lr * value
                elif option == 'decay_mult':
                    into['weight_decay'] = group.get('weight_decay', weight_decay) * value
                else:
                    into[option] = value
    return list(found.values())


def param_groups(model: nn.Module) -> list[dict[str, Any]]:
    """The trainable parameters of ``model``: decayed ones, then those with at most one axis."""
    stacked = {id(each.parameter) for each in stacked_parameters(model)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed, flat = [], []
    for parameter in trainable:
        axes = parameter.ndim - (id(parameter) in stacked)
        (decayed if axes > 1 else flat).append(parameter)
    groups = [dict(params=decayed), dict(params=flat, weight_decay=0.0)]
    return [group for group in groups if group['params']]
