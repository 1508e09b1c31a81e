"""One switch for every operation of this package: its formula as it is written in its paper."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mtpeft.utils.exporting import exported


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
    return _switch.plain or exported()
