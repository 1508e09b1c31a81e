"""Drawings of a model without tasks of ours, a segmentor of mmsegmentation."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask, build_tasks

TASK = 'semseg'


def tasks_of(model: nn.Module, metainfo: Mapping[str, Any] | None = None) -> dict[str, DenseTask]:
    """The tasks of a model; of a segmentor its one task, classes and colours as of the data set.

    Args:
        model: A ``MultiTaskModel``, or a segmentor with ``decode_head``.
        metainfo: ``classes`` and ``palette`` of the data set.

    Raises:
        TypeError: it is neither.
    """
    tasks = getattr(model, 'tasks', None)
    if tasks is not None:
        return tasks
    head = getattr(model, 'decode_head', None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    number = getattr(head, 'num_classes', None)
    if number is None:
        raise TypeError(
            'Expected a MultiTaskModel or a segmentor of mmsegmentation to draw predictions of, '
            f'got {type(model).__name__}.'
        )
    named = {
        key: (metainfo or {}).get(key)
        for key in ('classes', 'palette')
        if len((metainfo or {}).get(key) or ()) == number
    }
    return build_tasks({TASK: dict(num_classes=number, **named)})


def as_multi_task(sample: Any) -> MultiTaskDataSample:
    """A sample of mmsegmentation, which has its label and prediction under the same names."""
    if isinstance(sample, MultiTaskDataSample):
        return sample
    own = MultiTaskDataSample(metainfo=dict(sample.metainfo))
    for prefix, put in (('gt', own.set_gt), ('pred', own.set_pred)):
        pixels = sample.get(f'{prefix}_sem_seg')
        if pixels is not None and 'data' in pixels:
            put(TASK, pixels.data)
    return own
