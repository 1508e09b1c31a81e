"""Weight decay for matrices and kernels only."""

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mtpeft.adapters import Adapter
from mtpeft.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FlatNoDecayConstructor:
    """Optimizer in two groups: weight decay for parameters with two or more axes, none for others.

    Biases, norms, DoRA magnitudes and every other parameter with at most one axis are not decayed;
    relative-position tables, two axes, are. The task axis of stacked task parameters does not
    count. Frozen parameters are left out. MMEngine's
    ``paramwise_cfg=dict(flat_decay_mult=0.)`` decays alike, but with one group a parameter and
    one line of log for each, frozen ones included.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: Not supported: there are no options per parameter.

    Raises:
        ValueError: ``paramwise_cfg`` was given, or nothing is trainable.

    Example:
        >>> import torch
        >>> build = FlatNoDecayConstructor(dict(optimizer=dict(type='AdamW', lr=1e-3)))
        >>> wrapper = build(torch.nn.Linear(3, 2))
        >>> [g['weight_decay'] for g in wrapper.optimizer.param_groups]
        [0.01, 0.0]
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ValueError(
                f'FlatNoDecayConstructor takes no paramwise_cfg, got {dict(paramwise_cfg)}. Use '
                "constructor='DefaultOptimWrapperConstructor' with "
                'paramwise_cfg=dict(flat_decay_mult=0.0, ...) to set options per parameter.'
            )
        self.wrapper = dict(optim_wrapper_cfg)
        self.optimizer = dict(self.wrapper.pop('optimizer'))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        groups = param_groups(model)
        if not groups:
            raise ValueError('Nothing to optimise: no parameter of the model is trainable.')
        optimizer = OPTIMIZERS.build(dict(self.optimizer, params=groups))
        wrapper = dict(self.wrapper)
        wrapper.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=optimizer))


def param_groups(model: nn.Module) -> list[dict[str, Any]]:
    """The trainable parameters of ``model``: decayed ones, then those with at most one axis."""
    stacked = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, Adapter)
        for parameter in module.lane_parameters().values()
    }
    trainable = [p for p in model.parameters() if p.requires_grad]
    decayed, flat = [], []
    for parameter in trainable:
        axes = parameter.ndim - (id(parameter) in stacked)
        (decayed if axes > 1 else flat).append(parameter)
    groups = [dict(params=decayed), dict(params=flat, weight_decay=0.0)]
    return [group for group in groups if group['params']]
