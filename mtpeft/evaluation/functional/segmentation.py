"""Confusion matrix, intersection over union, accuracy."""

import torch
from torch import Tensor

from mtpeft.evaluation.functional.pooling import Statistics
from mtpeft.utils.suggest import hint

ABSENT = ('skip', 'zero')


def segmentation_update(pred: Tensor, label: Tensor, valid: Tensor, num_classes: int) -> Statistics:
    """Confusion matrix of one picture.

    Args:
        pred: Class indices, any shape.
        label: Class indices, ``pred``'s shape.
        valid: Boolean mask of that shape.
        num_classes: C.

    Returns:
        ``confusion`` ``(C, C)``: rows are labels, columns predictions.

    Raises:
        ValueError: a valid label or its prediction lies outside ``0..C-1``.
    """
    truth, guess = label[valid].long(), pred[valid].long()
    for name, values in (('label', truth), ('prediction', guess)):
        if len(values) and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(
                f'expected {name} classes in 0..{num_classes - 1}, '
                f'got values in {int(values.min())}..{int(values.max())}'
            )
    flat = torch.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return dict(confusion=flat.view(num_classes, num_classes).to(torch.int32))


def class_iou(confusion: Tensor) -> Tensor:
    """IoU of each class in percent ``(C,)``; NaN where a class is in no label or prediction."""
    hits = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    return 100 * hits / union


def segmentation_compute(pooled: Statistics, absent: str = 'skip') -> dict[str, float]:
    """Mean IoU and pixel accuracy of the pooled confusion matrix.

    ``IoU_c = TP_c / (TP_c + FP_c + FN_c)``, ``aAcc = sum_c TP_c / N``.

    Args:
        pooled: The sum of :func:`segmentation_update`.
        absent: A class that occurs in no label and no prediction of the whole set is left out of
            the mean (``'skip'``) or counts 0 (``'zero'``, as the code released with MTLoRA does).

    Returns:
        ``mIoU`` and ``aAcc`` in percent.

    Raises:
        ValueError: ``absent`` is neither, or there is no valid pixel.
    """
    if absent not in ABSENT:
        raise ValueError(f"absent='{absent}' is unknown. " + hint(str(absent), ABSENT))
    confusion = pooled['confusion']
    total = int(confusion.sum())
    if total == 0:
        raise ValueError('Expected at least one valid pixel, got none.')
    iou = class_iou(confusion)
    mean = iou.nan_to_num(0.0).mean() if absent == 'zero' else iou.nanmean()
    accuracy = 100 * float(confusion.diagonal().sum()) / total
    return dict(mIoU=float(mean), aAcc=accuracy)
