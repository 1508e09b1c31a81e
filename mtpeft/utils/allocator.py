"""What the C library does with memory that was freed."""

import ctypes
import os

from torch.utils.data import get_worker_info

# of mallopt in glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1
_asked = 0  # the process that was asked last


def keep_freed_memory() -> bool:
    """Let glibc keep memory that is freed, and use it again, instead of returning it to the system.

    For training on a CPU. Otherwise tensors above 32 MB are mapped anew at every use, and what a
    step kept for its backward pass is returned after it; the kernel has to clear each page again,
    which can take as long as the product that fills it. The price is that a process goes on to
    hold what its largest step took, and somewhat more, since what is free does not always fit.

    Nothing is changed where the user chose: ``MALLOC_...`` or ``GLIBC_TUNABLES`` in the
    environment, or another allocator (``LD_PRELOAD``); nor without glibc.

    Returns:
        Whether it is in effect.
    """
    names = ('GLIBC_TUNABLES', 'LD_PRELOAD')
    chosen = [n for n, value in os.environ.items() if value and n.startswith(('MALLOC_', *names))]
    if chosen or not _glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return mallopt(_M_MMAP_MAX, 0) == 1 and mallopt(_M_TRIM_THRESHOLD, _NEVER) == 1


def keep_memory_of_worker() -> None:
    """:func:`keep_freed_memory`, once, in a process that loads data; nothing in others.

    Every picture needs the same few arrays of a megabyte each, which the kernel would clear anew.

    Example:
        >>> keep_memory_of_worker()  # not in a worker
    """
    global _asked
    if _asked != os.getpid():
        _asked = os.getpid()
        if get_worker_info() is not None:
            keep_freed_memory()


def _glibc() -> bool:
    try:
        return os.confstr('CS_GNU_LIBC_VERSION').startswith('glibc')
    except (AttributeError, OSError, ValueError):
        return False
