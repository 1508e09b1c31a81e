"""The end of every pipeline."""

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor

from mtpeft.registry import TRANSFORMS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask

_META = ('img_path', 'img_id', 'sample_idx', 'ori_shape', 'img_shape', 'flip')


@TRANSFORMS.register_module()
class PackMultiTaskInputs(BaseTransform):
    """Turn the results dict into what the model takes.

    Gives ``inputs``, a uint8 tensor ``(3, H, W)`` (BGR), of pictures of another number of channels
    ``(C, H, W)``, uint8 or float32, and ``data_samples``, a
    :class:`~mtpeft.structures.MultiTaskDataSample` whose labels are ``(C, H, W)``: int64
    ``(1, H, W)`` for classes and binary labels, else float32. Its meta information has
    ``img_path``, ``img_id``, ``sample_idx``, ``ori_shape``, ``img_shape``, ``flip`` as far as they
    are known, and ``label_shape``, the ``(H, W)`` of the labels when there are any.

    Raises:
        ValueError: a picture of three channels is not uint8; labels differ in size.

    Example:
        >>> import numpy as np
        >>> from mtpeft.tasks import build_tasks
        >>> results = dict(img=np.zeros((4, 6, 3), np.uint8), tasks=build_tasks(['sal']),
        ...                labels=dict(sal=np.zeros((4, 6), np.uint8)))
        >>> packed = PackMultiTaskInputs()(results)
        >>> tuple(packed['inputs'].shape), packed['data_samples'].label_shape
        ((3, 4, 6), (4, 6))
    """

    def transform(self, results: dict) -> dict:
        img = results['img']
        further = img.ndim == 3 and img.shape[2] != 3 and img.dtype == np.float32
        if img.ndim != 3 or (img.dtype != np.uint8 and not further):
            raise ValueError(
                f'Expected a picture (H, W, 3) of uint8, got {img.shape} of {img.dtype}. The data '
                'preprocessor normalises; leave out a transform that does (such as Normalize).'
            )
        sample = MultiTaskDataSample(metainfo={k: results[k] for k in _META if k in results})
        labels = results.get('labels', {})
        sizes = {label.shape[:2] for label in labels.values()}
        if len(sizes) > 1:
            shapes = {name: label.shape[:2] for name, label in labels.items()}
            raise ValueError(f'Labels of one picture differ in size: {shapes}.')
        for name, label in labels.items():
            sample.set_gt(name, _to_tensor(label, results['tasks'][name]))
            sample.set_metainfo(dict(label_shape=label.shape[:2]))
        return dict(inputs=torch.from_numpy(_channels_first(img)), data_samples=sample)

    def __repr__(self) -> str:
        return 'PackMultiTaskInputs()'


def _channels_first(img: np.ndarray) -> np.ndarray:
    if img.dtype != np.uint8 or img.shape[2] != 3 or not img.size:
        return np.array(img.transpose(2, 0, 1), order='C')
    planes = np.empty((3, *img.shape[:2]), np.uint8)
    cv2.split(img, [*planes])
    return planes


def _to_tensor(label: np.ndarray, task: DenseTask) -> Tensor:
    channels_first = label[None] if label.ndim == 2 else label.transpose(2, 0, 1)
    integer = task.kind in ('classes', 'binary')
    dtype = np.int64 if integer else np.float32
    return torch.from_numpy(np.array(channels_first, dtype=dtype, order='C'))
