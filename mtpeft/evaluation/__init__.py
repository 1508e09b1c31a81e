"""Metrics of dense tasks, Delta_m, and the evaluator that reports them."""

from mtpeft.evaluation.baselines import resolve_baselines
from mtpeft.evaluation.delta import delta_m, delta_per_task
from mtpeft.evaluation.evaluator import MultiTaskEvaluator
from mtpeft.evaluation.metrics import (
    DenseMetric,
    DepthMetric,
    EdgeMetric,
    MetricValue,
    NormalsMetric,
    SaliencyMetric,
    SegmentationMetric,
    ValuesMetric,
)
from mtpeft.evaluation.table import metrics_table

__all__ = [
    'DenseMetric', 'MetricValue',
    'SegmentationMetric', 'SaliencyMetric', 'NormalsMetric', 'DepthMetric', 'EdgeMetric',
    'ValuesMetric',
    'MultiTaskEvaluator', 'delta_m', 'delta_per_task', 'resolve_baselines', 'metrics_table',
]  # fmt: skip
