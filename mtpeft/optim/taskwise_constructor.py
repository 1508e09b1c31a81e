"""MMEngine's rules for single parameters, with keys of tasks."""

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mtpeft.optim.custom_keys import check_custom_keys
from mtpeft.optim.task_rates import set_task_rates
from mtpeft.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TaskwiseConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's ``DefaultOptimWrapperConstructor``, whose keys are those of the state dict.

    Parameters of tasks are stacked, ``(T, ...)``, and have one key a task in the state dict, such
    as ``backbone.network.layers.0.blocks.1.mlp.fc1.adapter.task_A.depth``. A key of
    ``custom_keys`` that names a task (``'task_A.depth'``) sets the rate of that task alone
    (:class:`~mtpeft.optim.task_rates.TaskRates`). A key that is part of no name is an error.
    ``build_runner`` puts this class in place of MMEngine's.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: As of MMEngine's class.

    Raises:
        ConfigKeyError: a custom key is part of no name (the nearest names are given).
        ValueError: a key gives one task something else than a rate.

    Example:
        >>> cfg = dict(optimizer=dict(type='SGD', lr=.1))
        >>> build = TaskwiseConstructor(cfg, dict(custom_keys=dict(bias=dict(lr_mult=.5))))
        >>> [g['lr'] for g in build(nn.Linear(3, 2)).optimizer.param_groups]
        [0.1, 0.05]
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        keys = self.paramwise_cfg.get('custom_keys', {})
        check_custom_keys(model, keys)
        wrapper = super().__call__(model)
        if keys and self.base_lr is not None:
            set_task_rates(wrapper.optimizer, model, keys, self.base_lr)
        return wrapper
