"""Parameters that are trained from later on than the optimizer was built."""

from collections.abc import Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn


def missing_from(wrapper: OptimWrapper, model: nn.Module) -> list[str]:
    """Names of trainable parameters of ``model`` that ``wrapper`` does not update.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> missing_from(OptimWrapper(torch.optim.SGD([net.weight], lr=.1)), net)
        ['bias']
    """
    wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    groups = [group for each in wrappers for group in each.optimizer.param_groups]
    known = {id(parameter) for group in groups for parameter in group['params']}
    return [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in known]


def add_parameters(
    wrapper: OptimWrapper,
    model: nn.Module,
    names: Sequence[str],
    cfg: Mapping[str, Any],
    schedulers: Iterable[Any] = (),
) -> list[list[str]]:
    """Let a wrapper update parameters that were unfrozen since it was built.

    Their groups have the options that the config's constructor gives them now (weight decay,
    ``custom_keys``), scaled as the rates of the others were by ``auto_scale_lr`` and by the
    schedulers until now; the schedulers go on with them.

    Args:
        wrapper: Of one optimizer; it is changed.
        model: The model, not wrapped.
        names: Of the parameters.
        cfg: Config of the wrapper, ``optim_wrapper``.
        schedulers: Parameter schedulers of the wrapper; they are changed.

    Returns:
        The names by group, in the order in which groups were added.

    Raises:
        ValueError: the wrapper holds several optimizers.
    """
    if isinstance(wrapper, OptimWrapperDict):
        raise ValueError(
            f'{names[0]} was unfrozen, but which of the optimizers {", ".join(wrapper.keys())} '
            'updates it is not known. Add it to one of them with add_param_group().'
        )
    own = {id(p): name for name, p in model.named_parameters()}
    fresh = build_optim_wrapper(model, dict(cfg)).optimizer
    scale, now = _scales(wrapper.optimizer, fresh)
    added = []
    for group in fresh.param_groups:
        parameters = [p for p in group['params'] if own[id(p)] in names]
        if parameters:
            added.append([own[id(p)] for p in parameters])
            _add_group(wrapper, schedulers, dict(group, params=parameters), scale, now)
    _average_gradients(wrapper, [p for n, p in model.named_parameters() if n in names])
    return added


def _scales(optimizer: torch.optim.Optimizer, fresh: torch.optim.Optimizer) -> tuple[float, float]:
    """How rates differ from the config's: at the start, and since then."""
    built = {id(p): group['lr'] for group in fresh.param_groups for p in group['params']}
    for group in optimizer.param_groups:
        initial, first = group.get('initial_lr', group['lr']), built.get(id(group['params'][0]))
        if first and initial:
            return initial / first, group['lr'] / initial
    return 1.0, 1.0


def _add_group(
    wrapper: OptimWrapper,
    schedulers: Iterable[Any],
    group: dict[str, Any],
    scale: float,
    now: float,
) -> None:
    initial = group['lr'] * scale
    group['lr'] = initial * now
    wrapper.optimizer.add_param_group(group)
    group = wrapper.optimizer.param_groups[-1]
    if 'initial_lr' in wrapper.optimizer.param_groups[0]:
        group['initial_lr'] = initial
    # MMEngine keeps the base rate as a last group that is not the optimizer's
    at = len(wrapper.optimizer.param_groups) - 1
    for scheduler in schedulers:
        name = scheduler.param_name
        group.setdefault(f'initial_{name}', group.get(name))
        scheduler.base_values.insert(at, group[f'initial_{name}'])


def _average_gradients(wrapper: OptimWrapper, parameters: list[nn.Parameter]) -> None:
    """Average over processes at each step, which DistributedDataParallel knew nothing to do for."""
    if get_world_size() == 1:
        return
    late: list[nn.Parameter] | None = getattr(wrapper.step, 'late', None)
    if late is not None:
        late += parameters
        return
    step, late = wrapper.step, list(parameters)

    @wraps(step)
    def averaged(**options: Any) -> None:
        for parameter in late:
            mean = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            all_reduce(mean, 'mean')
            if parameter.grad is not None or mean.any():
                parameter.grad = mean
        step(**options)

    averaged.late = late
    wrapper.step = averaged
