"""What PDRSHook's options may be."""

from collections.abc import Mapping
from typing import Any

from mtpeft.utils.suggest import hint

TRUNCATE = ('always', 'while_shrinking')


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for an option of PDRSHook that is out of its range.

    Args:
        options: Values by name.
    """
    _check_shares(options)
    truncate = options['truncate']
    if truncate not in TRUNCATE:
        raise ValueError(f'truncate={truncate!r} is unknown. ' + hint(str(truncate), TRUNCATE))
    least = dict(min_rank=1, margin=0, start_epoch=0, shrink_every=1)
    if options['shrink_until'] is not None:
        least['shrink_until'] = 0
    if options['shrinks'] is not None:
        least['shrinks'] = 1
        if [options[n] for n in ('start_epoch', 'shrink_every', 'shrink_until')] != [0, 1, None]:
            raise ValueError(
                f'shrinks={options["shrinks"]!r} says when to shrink instead of start_epoch, '
                'shrink_every and shrink_until: leave these out, or `shrinks`.'
            )
    for name, low in least.items():
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f'Expected {name} to be an integer from {low} on, got {value!r}.')


def _check_shares(options: Mapping[str, Any]) -> None:
    of_task, beta, until = options['rho_task'], options['beta'], options['until']
    shares = of_task if isinstance(of_task, Mapping) else dict(task=of_task)
    shares = {'rho': options['rho'], 'rho_shared': options['rho_shared'],
              **{f'rho_task[{name}]': rho for name, rho in shares.items()}}  # fmt: skip
    for name, rho in shares.items():
        if not isinstance(rho, int | float) or not 0 < rho <= 1:
            raise ValueError(f'Expected {name} in (0, 1], a share of the scores, got {rho!r}.')
    clamp = options['clamp']
    if clamp is not None and not clamp > 0:
        raise ValueError(f'Expected clamp to be positive, or None for no cut, got {clamp!r}.')
    if not 0 <= beta < 1:
        raise ValueError(f'Expected beta in [0, 1), got {beta!r}.')
    if not isinstance(until, int | float) or not 0 < until <= 1:
        raise ValueError(f'Expected until in (0, 1], a share of training, got {until!r}.')
