"""The check every label passes before a transform sees it."""

import numpy as np

from mtpeft.datasets.errors import DataFileError
from mtpeft.tasks import DenseTask

#: the foreground of the commonest masks, and what is ignored by default
_WHITE = 255


def check_label(label: np.ndarray, task: DenseTask, size: tuple[int, int], source: str) -> None:
    """Refuse a label that does not fit its task or its picture.

    Args:
        label: ``(H, W)`` or ``(H, W, C)``.
        task: What the label is for.
        size: ``(H, W)`` of the picture.
        source: The file (or whatever made the label), for the message.

    Raises:
        DataFileError: wrong shape, wrong type, a class beyond the task's, a binary label that is
            neither 0 nor 1, one of two classes that holds nothing but 0 and an ignored 255, or
            values that are not finite.
    """
    channels = task.label_channels
    shape = size if channels == 1 else (*size, channels)
    if label.shape != shape:
        raise DataFileError(
            f"{source}: expected a label of task '{task.name}' of shape {tuple(shape)}, as large "
            f'as its picture, got {label.shape}. Export it again at the size of the picture.'
        )
    if task.kind in ('classes', 'binary'):
        _check_classes(label, task, source)
    elif not np.issubdtype(label.dtype, np.floating):
        raise DataFileError(
            f"{source}: expected floating-point values for task '{task.name}', got {label.dtype}."
        )
    elif not np.isfinite(label).all():
        bad = int((~np.isfinite(label)).sum())
        raise DataFileError(
            f"{source}: {bad} values of task '{task.name}' are NaN or infinite. Mark pixels "
            f'without a label with {task.ignore_value:g} instead.'
        )


def _check_classes(label: np.ndarray, task: DenseTask, source: str) -> None:
    if label.dtype != np.uint8:
        raise DataFileError(
            f"{source}: expected class indices (uint8) for task '{task.name}', got {label.dtype}."
        )
    limit = 2 if task.kind == 'binary' else task.channels
    present = np.flatnonzero(np.bincount(label.ravel(), minlength=256))
    beyond = [int(v) for v in present if v >= limit and v != task.ignore_value]
    if beyond:
        raise DataFileError(
            f"{source}: task '{task.name}' has {limit} classes (0..{limit - 1}, "
            f'{task.ignore_value:g} is ignored), but the label holds {beyond[:8]}. Set '
            f'num_classes of the task to fit the label, or export the label again.'
        )
    if limit == 2 and task.ignore_value == _WHITE and list(present) == [0, _WHITE]:
        raise DataFileError(
            f"{source}: the label of task '{task.name}' holds only 0 and 255, as masks do whose "
            'foreground is 255; but 255 means ignored here, so nothing would be learnt of it. '
            'Export it with 1 for the foreground. If 255 does mean ignored and there is no '
            'foreground, give ignored pixels another number, say 254, in the file and as '
            'ignore_value=254 of the task.'
        )
