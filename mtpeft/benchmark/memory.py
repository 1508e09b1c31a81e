"""How much memory a call takes at most."""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch

#: Environment in which glibc gives freed memory back at once, so that what a process holds is what
#: it uses. To be set before it starts.
PROMPT_FREE = dict(
    MALLOC_ARENA_MAX='1', MALLOC_MMAP_THRESHOLD_='65536', MALLOC_TRIM_THRESHOLD_='65536'
)
_SELF = Path('/proc/self')


def peak_memory(
    function: Callable[[], object], device: torch.device | str = 'cpu'
) -> dict[str, float | str]:
    """Peak memory of a call, in MiB.

    On a GPU what its allocator gave out. On a CPU the resident memory of this process, which needs
    to have a process of its own with the environment :data:`PROMPT_FREE`: the kernel's high-water
    mark is set back before the call (5 to ``/proc/self/clear_refs``). Where that cannot be done
    (other systems than Linux, or no permission) the mark of the whole process stands for the peak
    and ``above_mb`` is only a lower bound; ``source`` says so.

    Returns:
        ``peak_mb``: the highest in the call; ``held_mb``: before it; ``above_mb``: their
        difference; ``source``: where the figures come from.

    Example:
        >>> found = peak_memory(lambda: torch.ones(2**23).sum())
        >>> found['above_mb'] == found['peak_mb'] - found['held_mb']
        True
    """
    gc.collect()
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        peak, source = torch.cuda.max_memory_allocated(device), "CUDA's allocator"
    else:
        give_back_freed()
        if set_back_mark():
            held = _status('VmRSS')
            function()
            peak, source = _status('VmHWM'), 'VmHWM of the process, set back before the call'
        else:
            held = peak_of_process()
            function()
            peak = peak_of_process()
            source = 'high-water mark of the whole process, which cannot be set back here'
    above = (peak - held) / 2**20
    return dict(peak_mb=held / 2**20 + above, held_mb=held / 2**20, above_mb=above, source=source)


def set_back_mark() -> bool:
    """Set this process's high-water mark to what it holds; ``False`` where that cannot be done."""
    try:
        (_SELF / 'clear_refs').write_text('5')
        # some kernels take the write and do nothing
        return _status('VmHWM') - _status('VmRSS') < 2**24
    except (OSError, KeyError):
        return False


def give_back_freed() -> None:
    """Ask the C library to give freed memory back to the system, where it can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        pass


def peak_of_process() -> int:
    """Bytes of the process's high-water mark since it started."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _status(key: str) -> int:
    lines = (_SELF / 'status').read_text().splitlines()
    fields = dict(line.split(':', 1) for line in lines)
    return int(fields[key].split()[0]) * 1024
