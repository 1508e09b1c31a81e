"""One switch for every operation of this package: its formula as it is written in its paper."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# torch 2.6 cannot tell
_is_exporting = getattr(torch.compiler, 'is_exporting', lambda: False)


class _Switch(threading.local):
    plain = os.environ.get('MTPEFT_PLAIN_OPS', '') not in ('', '0')


_switch = _Switch()


@contextmanager
def plain() -> Iterator[None]:
    """Run every formula in its plain form; ``MTPEFT_PLAIN_OPS=1`` does it for a whole process.

    For whoever debugs, ports or distrusts: results agree to rounding, and nothing but operators of
    PyTorch runs. It holds in the thread that enters it.

    Example:
        >>> with plain():
        ...     plain_ops()
        True
    """
    before, _switch.plain = _switch.plain, True
    try:
        yield
    finally:
        _switch.plain = before


def plain_ops() -> bool:
    """Do formulas run in their plain form? Also while a graph is exported, for other runtimes."""
    return _switch.plain or _is_exporting()


def exporting() -> bool:
    """Is a graph made for another runtime, which knows fewer operators than PyTorch?"""
    return _is_exporting()
