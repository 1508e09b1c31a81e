"""One picture's labels and predictions for any number of tasks."""

from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor

_ALIASES = {'semseg': 'sem_seg'}


def field_name(prefix: str, task: str) -> str:
    """Name of the field that holds a task's label (``'gt'``) or prediction (``'pred'``)."""
    return f'{prefix}_{_ALIASES.get(task, task)}'


class MultiTaskDataSample(BaseDataElement):
    """Labels and predictions of one picture, one ``PixelData`` a task.

    Field ``gt_<task>`` holds a label, ``pred_<task>`` a prediction, ``prob_<task>`` probabilities
    of classes that were asked for, each a tensor ``(C, H, W)`` under ``.data``. The task
    ``semseg`` is stored as ``gt_sem_seg`` / ``pred_sem_seg``, the names of mmsegmentation, so its
    metrics and heads read the same sample. A task without a label has no field.

    Example:
        >>> import torch
        >>> sample = MultiTaskDataSample(metainfo=dict(img_shape=(4, 4)))
        >>> sample.set_gt('depth', torch.ones(1, 4, 4))
        >>> list(sample.gt), 'gt_depth' in sample
        (['depth'], True)
    """

    def set_gt(self, task: str, label: Tensor) -> None:
        """Store the label ``(C, H, W)`` of ``task``."""
        self._set('gt', task, label)

    def set_pred(self, task: str, prediction: Tensor) -> None:
        """Store the prediction ``(C, H, W)`` of ``task``."""
        self._set('pred', task, prediction)

    def set_prob(self, task: str, probabilities: Tensor) -> None:
        """Store the probabilities of the classes ``(C, H, W)`` of ``task``."""
        self._set('prob', task, probabilities)

    def get_gt(self, task: str) -> Tensor | None:
        """The label ``(C, H, W)`` of ``task``, ``None`` where the picture has none."""
        return self._get('gt', task)

    def get_pred(self, task: str) -> Tensor | None:
        """The prediction ``(C, H, W)`` of ``task``, ``None`` where there is none."""
        return self._get('pred', task)

    def get_prob(self, task: str) -> Tensor | None:
        """Probabilities of the classes ``(C, H, W)``, ``None`` where they were not asked for."""
        return self._get('prob', task)

    @property
    def gt(self) -> dict[str, Tensor]:
        """Labels by task."""
        return self._all('gt')

    @property
    def pred(self) -> dict[str, Tensor]:
        """Predictions by task."""
        return self._all('pred')

    def _set(self, prefix: str, task: str, data: Tensor) -> None:
        self.set_field(PixelData(data=data), field_name(prefix, task), dtype=PixelData)

    def _get(self, prefix: str, task: str) -> Tensor | None:
        pixels = self.get(field_name(prefix, task))
        return None if pixels is None else pixels.data

    def _all(self, prefix: str) -> dict[str, Tensor]:
        names = {alias: task for task, alias in _ALIASES.items()}
        start = f'{prefix}_'
        return {
            names.get(key[len(start):], key[len(start):]): self.get(key).data
            for key in sorted(self.keys()) if key.startswith(start)
        }  # fmt: skip
