"""The six tasks of the PASCAL-Context and NYUD multi-task benchmarks.

Losses, weights, metrics and label conventions are those of MTLoRA's protocol (arXiv 2403.20320),
which FAAR and Free Sinewich follow.
"""

from typing import Any

from mtpeft.registry import TASKS
from mtpeft.tasks.dense_task import DenseTask
from mtpeft.tasks.palettes import (
    HUMAN_PARTS,
    HUMAN_PARTS_PALETTE,
    NYUD,
    PASCAL,
    class_palette,
)
from mtpeft.utils.kinds import Size
from mtpeft.utils.suggest import hint


@TASKS.register_module()
def semseg(num_classes: Size = 21, **overrides: Any) -> DenseTask:
    """Semantic segmentation: cross-entropy (255 ignored), mIoU. PASCAL 21 classes, NYUD 40."""
    known = {len(names): dict(classes=names) for names in (PASCAL, NYUD)}
    named = known.get(num_classes, {})
    return _task(
        overrides, name='semseg', kind='classes', channels=num_classes,
        loss=dict(type='PixelCrossEntropyLoss'), metric=dict(type='SegmentationMetric'),
        headline='mIoU', lower_is_better=False, palette=class_palette(num_classes), **named,
    )  # fmt: skip


@TASKS.register_module()
def human_parts(num_classes: Size = 7, **overrides: Any) -> DenseTask:
    """Human part segmentation: background and six groups of parts, weight 2."""
    named = dict(palette=class_palette(num_classes))
    if num_classes == len(HUMAN_PARTS):
        named = dict(classes=HUMAN_PARTS, palette=HUMAN_PARTS_PALETTE)
    return _task(
        overrides, name='human_parts', kind='classes', channels=num_classes, loss_weight=2.0,
        loss=dict(type='PixelCrossEntropyLoss'), metric=dict(type='SegmentationMetric'),
        headline='mIoU', lower_is_better=False, **named,
    )  # fmt: skip


@TASKS.register_module()
def sal(**overrides: Any) -> DenseTask:
    """Saliency: balanced binary cross-entropy, mIoU over thresholds, weight 5."""
    return _task(
        overrides, name='sal', kind='binary', channels=1, loss_weight=5.0,
        loss=dict(type='BalancedBCELoss'), metric=dict(type='SaliencyMetric'),
        headline='mIoU', lower_is_better=False,
    )  # fmt: skip


@TASKS.register_module()
def normals(**overrides: Any) -> DenseTask:
    """Surface normals, camera axes (x right): L1 on unit vectors, mean angle, weight 10."""
    return _task(
        overrides, name='normals', kind='vectors', channels=3, loss_weight=10.0,
        loss=dict(type='NormalsL1Loss'), metric=dict(type='NormalsMetric'),
        headline='mean_angle', lower_is_better=True, hflip='negate_x', rotation='turn_vectors',
        unit='deg',
    )  # fmt: skip


@TASKS.register_module()
def depth(**overrides: Any) -> DenseTask:
    """Depth in metres: L1 over valid pixels, rmse. Enlarging the picture divides it."""
    return _task(
        overrides, name='depth', kind='values', channels=1, loss_weight=1.0,
        loss=dict(type='MaskedL1Loss'), metric=dict(type='DepthMetric'),
        headline='rmse', lower_is_better=True, scaling='divide', unit='m',
    )  # fmt: skip


@TASKS.register_module()
def edge(**overrides: Any) -> DenseTask:
    """Edges: binary cross-entropy with positive weight .95, odsF, weight 50."""
    return _task(
        overrides, name='edge', kind='binary', channels=1, loss_weight=50.0,
        loss=dict(type='BalancedBCELoss', positive_weight=0.95), metric=dict(type='EdgeMetric'),
        headline='odsF', lower_is_better=False, lines=True,
    )  # fmt: skip


def _task(overrides: dict, **fields: Any) -> DenseTask:
    known = DenseTask.__dataclass_fields__
    for key in overrides:
        if key not in known:
            raise TypeError(f"Task '{fields['name']}' has no option '{key}'. " + hint(key, known))
    return DenseTask(**{**fields, **overrides})
