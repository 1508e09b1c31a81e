"""Functional cores of the metrics: ``*_update`` for one picture, ``*_compute`` for their sum."""

from mtpeft.evaluation.functional.depth import depth_compute, depth_update
from mtpeft.evaluation.functional.edge import edge_compute, edge_update
from mtpeft.evaluation.functional.edge_dilated import dilated_edge_compute, dilated_edge_update
from mtpeft.evaluation.functional.normals import angles_deg, normals_compute, normals_update
from mtpeft.evaluation.functional.pooling import pool
from mtpeft.evaluation.functional.saliency import saliency_compute, saliency_update
from mtpeft.evaluation.functional.segmentation import (
    class_iou,
    segmentation_compute,
    segmentation_update,
)
from mtpeft.evaluation.functional.values import values_compute, values_update

__all__ = [
    'pool',
    'segmentation_update', 'segmentation_compute', 'class_iou',
    'saliency_update', 'saliency_compute',
    'normals_update', 'normals_compute', 'angles_deg',
    'depth_update', 'depth_compute',
    'edge_update', 'edge_compute', 'dilated_edge_update', 'dilated_edge_compute',
    'values_update', 'values_compute',
]  # fmt: skip
