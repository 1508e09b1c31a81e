"""What is known about a task's figures before there are any."""

from mmengine.evaluator import BaseMetric

from mtpeft.evaluation.metrics.base import MetricValue
from mtpeft.registry import METRICS
from mtpeft.tasks import DenseTask


def metric_class(task: DenseTask) -> type[BaseMetric]:
    """The class that ``task.metric`` names.

    Raises:
        KeyError: it is not registered (building it names the nearest ones).
    """
    kind = task.metric.get('type')
    if isinstance(kind, type):
        return kind
    found = METRICS.get(kind) if isinstance(kind, str) else None
    if found is None:
        METRICS.build(dict(task.metric))
        raise KeyError(f"Task '{task.name}': metric {kind!r} is not registered.")
    return found


def known_values(task: DenseTask) -> dict[str, MetricValue]:
    """Unit and direction of each figure; empty for a metric that does not declare them."""
    return getattr(metric_class(task), 'values', {})


def describe(task: DenseTask, metric: str) -> MetricValue | None:
    """Unit and direction of one figure of ``task``, ``None`` where nobody says."""
    if metric == task.headline:
        known = known_values(task).get(metric)
        return MetricValue(task.unit if known is None else _unit(known, task), task.lower_is_better)
    if metric.startswith('IoU/'):
        return MetricValue('%', False)
    known = known_values(task).get(metric)
    return known and MetricValue(_unit(known, task), known.lower_is_better)


def _unit(value: MetricValue, task: DenseTask) -> str:
    return task.unit if value.unit is None else value.unit
