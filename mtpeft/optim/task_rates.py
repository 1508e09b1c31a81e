"""A learning rate for one task of a parameter that is stacked over tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mtpeft.optim.custom_keys import Stacked, key_for, stacked_parameters


class TaskRates:
    r"""Lets an optimizer update each task of a stacked parameter at a rate of its own.

    The update of SGD, Adam, AdamW and their like is the learning rate times something that does
    not depend on it, weight decay included. So a step is made at the largest rate among the tasks,
    and of task t the share :math:`r_t / \max_s r_s` of it is kept:
    :math:`W_t \leftarrow W_t + \frac{r_t}{\max_s r_s} (W'_t - W_t)`.

    A group shows one of the rates as its ``lr``; schedulers change it, and the others in
    proportion.

    Args:
        optimizer: It has each of the parameters in a group of its own.
        multiples: For each such parameter the multiples of the base rate, one a task.
        shown: The one of them that the ``lr`` of its group is; above 0.

    Example:
        >>> weight = nn.Parameter(torch.zeros(2, 1))
        >>> optimizer = torch.optim.SGD([dict(params=[weight], lr=.05)])
        >>> rates = TaskRates(optimizer, {weight: [1., .5]}, {weight: .5})
        >>> weight.sum().backward(); _ = optimizer.step(); weight.detach().flatten()
        tensor([-0.1000, -0.0500])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        multiples: Mapping[nn.Parameter, Sequence[float]],
        shown: Mapping[nn.Parameter, float],
    ) -> None:
        self._top = {id(p): max(multiples[p]) / shown[p] for p in multiples}
        self._shares = {id(p): [m / max(row) for m in row] for p, row in multiples.items()}
        self._steps: list[tuple[dict, float, Tensor]] = []
        optimizer.register_step_pre_hook(self._start)
        optimizer.register_step_post_hook(self._finish)

    def _start(self, optimizer: Optimizer, *_: Any) -> None:
        self._steps = []
        for group in optimizer.param_groups:
            parameter = group['params'][0]
            if id(parameter) in self._top and parameter.grad is not None:
                self._steps.append((group, group['lr'], parameter.detach().clone()))
                group['lr'] = group['lr'] * self._top[id(parameter)]

    def _finish(self, *_: Any) -> None:
        for group, shown, before in self._steps:
            group['lr'] = shown
            parameter = group['params'][0]
            with torch.no_grad():
                for row, old, share in zip(
                    parameter, before, self._shares[id(parameter)], strict=True
                ):
                    if share < 1:
                        row.copy_(old.lerp(row, share))
        self._steps = []


def set_task_rates(
    optimizer: Optimizer, model: nn.Module, custom_keys: Mapping[str, Mapping], base: float
) -> None:
    """Give each task of stacked parameters the rate of the custom key that counts for it.

    Args:
        optimizer: It has every stacked parameter in a group of its own, wherever a custom key names
            one of its tasks; it is changed.
        model: Its stacked parameters are looked at.
        custom_keys: Of ``paramwise_cfg``, by parts of names as they stand in the state dict.
        base: The base learning rate.

    Raises:
        ValueError: a key gives one task something else than a rate, such as a weight decay.
    """
    groups = {id(g['params'][0]): g for g in optimizer.param_groups if len(g['params']) == 1}
    multiples, shown = {}, {}
    for stacked in stacked_parameters(model):
        keys = [key_for(name, custom_keys) for name in stacked.keys()]  # noqa: SIM118
        if len(set(keys)) == 1 or id(stacked.parameter) not in groups:
            continue
        own = key_for(stacked.name, custom_keys)
        _check_same(stacked, [k for k in keys if k != own], custom_keys, own)
        row = [1.0 if key is None else custom_keys[key].get('lr_mult', 1.0) for key in keys]
        named = [rate for rate, key in zip(row, keys, strict=True) if key != own and rate > 0]
        if len(set(row)) > 1:
            multiples[stacked.parameter] = row
        rate = shown[stacked.parameter] = named[0] if named else max(row)
        groups[id(stacked.parameter)]['lr'] = base * rate
    if multiples:
        TaskRates(optimizer, multiples, shown)


def _check_same(
    stacked: Stacked, keys: Sequence[str], custom_keys: Mapping[str, Mapping], own: str | None
) -> None:
    """One parameter has one weight decay, and whatever else a group says."""
    shared = {k: v for k, v in (custom_keys[own] if own else {}).items() if k != 'lr_mult'}
    for key in keys:
        other = {k: v for k, v in custom_keys[key].items() if k != 'lr_mult'}
        if other and other != shared:
            raise ValueError(
                f"optim_wrapper.paramwise_cfg.custom_keys['{key}']: expected lr_mult alone, got "
                f'{dict(custom_keys[key])}. {stacked.name} is one parameter for the tasks '
                f'{", ".join(stacked.tasks)}: these may differ in their rate only.'
            )
