"""What PDRSHook's options may be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtpeft.hooks.ranks.pdrs import PDRSHook


def check_options(hook: 'PDRSHook') -> None:
    """Raise ``ValueError`` for an option of ``hook`` that is out of its range."""
    shares = hook.rho_task if isinstance(hook.rho_task, Mapping) else dict(task=hook.rho_task)
    shares = {'rho': hook.rho, 'rho_shared': hook.rho_shared,
              **{f'rho_task[{name}]': rho for name, rho in shares.items()}}  # fmt: skip
    for name, rho in shares.items():
        if not isinstance(rho, int | float) or not 0 < rho <= 1:
            raise ValueError(f'Expected {name} in (0, 1], a share of the scores, got {rho!r}.')
    if not 0 <= hook.beta < 1:
        raise ValueError(f'Expected beta in [0, 1), got {hook.beta!r}.')
    if not isinstance(hook.until, int | float) or not 0 < hook.until <= 1:
        raise ValueError(f'Expected until in (0, 1], a share of training, got {hook.until!r}.')
    least = dict(min_rank=1, margin=0, start_epoch=0, shrink_every=1)
    if hook.shrink_until is not None:
        least['shrink_until'] = 0
    if hook.shrinks is not None:
        least['shrinks'] = 1
        if (hook.start_epoch, hook.shrink_every, hook.shrink_until) != (0, 1, None):
            raise ValueError(
                f'shrinks={hook.shrinks!r} says when to shrink instead of start_epoch, '
                'shrink_every and shrink_until: leave these out, or `shrinks`.'
            )
    for name, low in least.items():
        value = getattr(hook, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f'Expected {name} to be an integer from {low} on, got {value!r}.')
