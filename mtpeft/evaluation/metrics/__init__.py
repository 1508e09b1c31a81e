"""One metric a kind of dense task."""

from mtpeft.evaluation.metrics.base import DenseMetric, MetricValue
from mtpeft.evaluation.metrics.depth import DepthMetric
from mtpeft.evaluation.metrics.edge import EdgeMetric
from mtpeft.evaluation.metrics.normals import NormalsMetric
from mtpeft.evaluation.metrics.saliency import SaliencyMetric
from mtpeft.evaluation.metrics.segmentation import SegmentationMetric
from mtpeft.evaluation.metrics.values import ValuesMetric

__all__ = [
    'DenseMetric', 'MetricValue',
    'SegmentationMetric', 'SaliencyMetric', 'NormalsMetric', 'DepthMetric', 'EdgeMetric',
    'ValuesMetric',
]  # fmt: skip
