"""What of a task is averaged where there are several predictions of a pixel, and how.

================  =======================================  =====================================
activation        over windows                             over views (flips, scales)
================  =======================================  =====================================
``'argmax'``      logits (of views: probabilities)         probabilities
``'sigmoid'``     probabilities                            probabilities
``'normalize'``   unit vectors, brought to length 1 again  likewise; x of the mirrored one negated
``'none'``        values                                   values; times the scale (``'divide'``)
================  =======================================  =====================================

Classes are averaged as mmsegmentation averages them.
"""

from torch import Tensor

from mtpeft.tasks import DenseTask
from mtpeft.utils.unit_vectors import unit_vectors


def averaged(task: DenseTask, logits: Tensor, views: bool) -> Tensor:
    """What of ``logits`` ``(B, C, H, W)`` is averaged; ``views``: over views."""
    if task.activation == 'argmax':
        return logits.softmax(1) if views else logits
    if task.activation == 'sigmoid':
        return logits.sigmoid()
    if task.activation == 'normalize':
        return unit_vectors(logits)
    return logits


def finished(task: DenseTask, mean: Tensor) -> Tensor:
    """The prediction, see :meth:`DenseTask.predict`, from the mean."""
    if task.activation in ('argmax', 'normalize'):
        return task.predict(mean)
    return mean


def upright(task: DenseTask, logits: Tensor, scale: float, mirrored: bool) -> Tensor:
    """Logits of a view as they are of the picture itself, but for their size."""
    if mirrored:
        logits = logits.flip(-1)
        if task.hflip == 'negate_x':
            logits = logits.clone()
            logits[:, 0].neg_()
    # what looks s times larger is s times nearer
    return logits * scale if task.scaling == 'divide' and scale != 1 else logits
