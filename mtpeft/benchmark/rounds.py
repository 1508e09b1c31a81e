"""Time several functions in one run, in turns, and compare them round by round."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}


class Call:
    """A function without arguments, and what is done before it without being timed.

    Example:
        >>> call = Call(lambda: print('timed'), prepare=lambda: print('not timed'))
        >>> call()
        not timed
        timed
    """

    def __init__(
        self, function: Callable[[], object], prepare: Callable[[], object] | None = None
    ) -> None:
        self.function = function
        self.prepare = prepare or (lambda: None)

    def __call__(self) -> object:
        self.prepare()
        return self.function()


def time_in_turns(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 1,
    device: torch.device | str = 'cpu',
    clock: str = 'wall',
) -> dict[str, list[float]]:
    """Seconds of each function in each round.

    A round calls every function once, so that a machine that slows down slows all of them. Each
    round starts one function later than the last: none always follows the same one.

    Args:
        functions: What to time, by name; of a :class:`Call` its function alone.
        rounds: Rounds that count.
        warmup: Rounds before them.
        device: On a GPU, the clock is read when the device has finished.
        clock: ``'wall'``, or ``'cpu'``: the time of this process on all its cores, which other
            processes do not lengthen by taking a core (read it with one thread only).

    Example:
        >>> times = time_in_turns({'a': lambda: None, 'b': lambda: None}, rounds=3)
        >>> {name: len(seconds) for name, seconds in times.items()}
        {'a': 3, 'b': 3}
    """
    read, names = CLOCKS[clock], list(functions)
    times = {name: [] for name in names}
    for index in range(warmup + rounds):
        first = index % len(names) if names else 0
        for name in names[first:] + names[:first]:
            function = functions[name]
            if isinstance(function, Call):
                function.prepare()
                function = function.function
            synchronize(device)
            start = read()
            function()
            synchronize(device)
            times[name].append(read() - start)
    return {name: seconds[warmup:] for name, seconds in times.items()}


def synchronize(device: torch.device | str) -> None:
    """Wait for a GPU; nothing on a CPU."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles.

    Example:
        >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
        {'median': 3.0, 'low': 2.0, 'high': 4.0}
    """
    if len(values) < 2:
        return dict.fromkeys(('median', 'low', 'high'), values[0])
    low, median, high = statistics.quantiles(values, n=4, method='inclusive')
    return dict(median=median, low=low, high=high)


def ratio(times: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of the ratios round by round."""
    return spread([a / b for a, b in zip(times, base, strict=True)])
