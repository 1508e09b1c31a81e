"""SIGTERM, by which schedulers ask a process to end."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STATUS = 128 + signal.SIGTERM
"""Exit status of a process that ended because of SIGTERM, 143."""


class Terminated(BaseException):
    """SIGTERM came. It is no Exception, so that nothing takes it for an error and goes on."""


class _Watch:
    came = False
    inside = 0


@contextmanager
def watched() -> Iterator[None]:
    """Raise :class:`Terminated` in the main thread when SIGTERM comes; a second one is ignored.

    What SIGTERM did before, it does again behind the block, unless it came. Forked processes, such
    as those of a ``multiprocessing.Pool``, are ended by it at once: where one waits for a lock, a
    handler in Python may run too late, and ``Pool.terminate`` would wait for ever.
    """
    before = signal.signal(signal.SIGTERM, _received)
    _Watch.came = False
    try:
        yield
    finally:
        if not _Watch.came:
            signal.signal(signal.SIGTERM, before)


def _before_fork() -> None:
    if signal.getsignal(signal.SIGTERM) is _received:
        # one that comes to the child before it is set up waits; Python would drop it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork_in_parent() -> None:
    if signal.getsignal(signal.SIGTERM) is _received:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _after_fork_in_child() -> None:
    if signal.getsignal(signal.SIGTERM) is _received:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


def _received(number: int, frame: FrameType | None) -> None:
    first, _Watch.came = not _Watch.came, True
    if first and not _Watch.inside:
        raise Terminated


def came(patience: float = 0.0) -> bool:
    """Has SIGTERM come, or does it within ``patience`` seconds?"""
    end = time.monotonic() + patience
    while not _Watch.came and time.monotonic() < end:
        try:
            time.sleep(0.05)
        except Terminated:
            break
    return _Watch.came


@contextmanager
def finished_first() -> Iterator[None]:
    """What is within is finished before SIGTERM ends the process.

    Example:
        >>> with finished_first():
        ...     done = True
    """
    _Watch.inside += 1
    try:
        yield
    finally:
        _Watch.inside -= 1
    if _Watch.came and not _Watch.inside:
        raise Terminated


def leave(text: str, at_once: bool) -> None:
    """Say ``text`` and end with status 143.

    Args:
        text: What is said, on standard error.
        at_once: Do not wait for threads, as those of a process group, whose other processes may
            be gone.

    Raises:
        SystemExit: unless ``at_once``.
    """
    print(text, file=sys.stderr, flush=True)
    if not at_once:
        raise SystemExit(STATUS)
    for worker in multiprocessing.active_children():
        worker.terminate()
    sys.stdout.flush()
    os._exit(STATUS)
