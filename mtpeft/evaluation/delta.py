"""Delta_m: how much better than the baselines a multi-task model is, on average."""

import math
from collections.abc import Collection, Mapping

from mtpeft.utils.suggest import hint


def delta_per_task(
    metrics: Mapping[str, float], baselines: Mapping[str, float], lower_is_better: Collection[str]
) -> dict[str, float]:
    """The relative gain of each task in percent; positive is better.

    Arguments and errors are those of :func:`delta_m`.
    """
    if isinstance(lower_is_better, str):
        raise TypeError(
            f'Expected lower_is_better as a set of task names, got the string {lower_is_better!r}.'
        )
    if not metrics:
        raise ValueError('Expected the metrics of at least one task, got none.')
    for task in baselines:
        if task not in metrics:
            raise ValueError(f"Baseline for unknown task '{task}'. " + hint(task, metrics))
    for task in metrics:
        if task not in baselines:
            raise ValueError(f"No baseline for task '{task}'. Baselines: {sorted(baselines)}.")
    for task in lower_is_better:
        if task not in metrics:
            raise ValueError(f"lower_is_better: unknown task '{task}'. " + hint(task, metrics))
    return {
        task: _gain(task, value, baselines[task], task in lower_is_better)
        for task, value in metrics.items()
    }


def delta_m(
    metrics: Mapping[str, float], baselines: Mapping[str, float], lower_is_better: Collection[str]
) -> float:
    """Average relative gain over the baselines, in percent.

    ``Delta_m = 100 / T * sum_i (-1)^{l_i} (M_i - S_i) / S_i``, ``l_i = 1`` where lower is better
    (Maninis et al., arXiv 1904.08918).

    Args:
        metrics: M, the model's figure of each task.
        baselines: S, the figure of each task's single-task model; the same keys.
        lower_is_better: Names of the tasks whose figure is an error.

    Raises:
        ValueError: the keys differ, there is no task, a value is not finite, a baseline is 0.
        TypeError: ``lower_is_better`` is a string, or a value is not a number.

    Example:
        >>> round(delta_m(dict(semseg=44, depth=.9), dict(semseg=40, depth=1), {'depth'}), 6)
        10.0
    """
    gains = delta_per_task(metrics, baselines, lower_is_better)
    return sum(gains.values()) / len(gains)


def check_baseline(task: str, value: float) -> float:
    """A baseline as a float.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not finite, or 0.
    """
    value = _number(f"the baseline of task '{task}'", value)
    if value == 0:
        raise ValueError(
            f"The baseline of task '{task}' is 0; a relative gain over it is undefined."
        )
    return value


def _gain(task: str, value: float, baseline: float, lower: bool) -> float:
    value, baseline = _number(f"the metric of task '{task}'", value), check_baseline(task, baseline)
    return (-100 if lower else 100) * (value - baseline) / baseline


def _number(what: str, value: float) -> float:
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f'Expected {what} as a number, got {value!r}.') from None
    if not math.isfinite(number):
        raise ValueError(f'Expected {what} as a finite number, got {number}.')
    return number
