"""Where runs are made at once: a GPU each, or a share of the CPU."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time.

    Args:
        name: Such as ``'GPU 1'``; empty where there is one place only.
        environment: Variables of the processes that run there.

    Example:
        >>> cpu_slots(2, cores=8)[1]
        Slot(name='job 1', environment={'OMP_NUM_THREADS': '4'})
    """

    name: str = ''
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)


def cpu_slots(jobs: int, cores: int | None = None, given: str | None = None) -> list[Slot]:
    """``jobs`` places that share the cores out: each run has ``cores / jobs`` threads.

    Args:
        jobs: How many.
        cores: Default: those that this process may use.
        given: Threads of each run that the user has set (``OMP_NUM_THREADS``), which stay.

    Raises:
        ValueError: not one job.
    """
    if jobs < 1:
        raise ValueError(f'--jobs {jobs}: expected a number of runs at once, 1 or more.')
    if jobs == 1:
        return [Slot()]
    threads = given or str(max(1, (cores or _cores()) // jobs))
    return [Slot(f'job {number}', {'OMP_NUM_THREADS': threads}) for number in range(jobs)]


def gpu_slots(text: str, number: int, visible: str | None = None) -> list[Slot]:
    """One place for each GPU that is named.

    Args:
        text: Such as ``'0-3'`` or ``'0,2'``, counted among those that PyTorch sees.
        number: How many PyTorch sees.
        visible: ``CUDA_VISIBLE_DEVICES`` of this process: what the numbers are positions in.

    Raises:
        ValueError: the text is something else, or names what is not there.

    Example:
        >>> [slot.environment['CUDA_VISIBLE_DEVICES'] for slot in gpu_slots('0,2', 4)]
        ['0', '2']
    """
    chosen = _numbers(text)
    if number == 0:
        raise ValueError(
            f'--gpus {text}: PyTorch sees no GPU here. On a CPU, --jobs N makes N runs at once.'
        )
    wrong = [gpu for gpu in chosen if gpu >= number]
    if wrong:
        more = f', of CUDA_VISIBLE_DEVICES={visible}' if visible else ''
        raise ValueError(
            f'--gpus {text}: expected numbers in 0..{number - 1}{more}, got {wrong[0]}.'
        )
    names = [name.strip() for name in visible.split(',')] if visible else None
    return [
        Slot(f'GPU {gpu}', {'CUDA_VISIBLE_DEVICES': names[gpu] if names else str(gpu)})
        for gpu in chosen
    ]


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(','):
        first, _, last = part.strip().partition('-')
        if not first.isdecimal() or (last and not last.isdecimal()) or part.strip().endswith('-'):
            raise ValueError(
                f"--gpus '{text}': expected numbers of GPUs, such as 0-3 or 0,2, got '{part}'."
            )
        numbers += range(int(first), int(last or first) + 1)
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"--gpus '{text}': expected different GPUs, at least one, got {numbers}.")
    return numbers


def _cores() -> int:
    """Cores that this process may use, where the system says so."""
    has = hasattr(os, 'sched_getaffinity')
    return len(os.sched_getaffinity(0)) if has else os.cpu_count() or 1
