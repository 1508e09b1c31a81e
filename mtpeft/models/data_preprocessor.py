"""From collated samples to the batch a model takes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mtpeft.registry import MODELS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.kinds import Positive


@MODELS.register_module()
class MultiTaskDataPreprocessor(BaseDataPreprocessor):
    """Normalise pictures, pad them to a batch, and pad each task's label with its ignore value.

    Pictures are padded at the right and bottom, after the normalisation and with 0 (the mean
    colour), to the largest height and width of the batch. In training so are labels, each with
    its task's ``ignore_value``; otherwise every sample keeps its labels as they are. A sample's
    ``img_shape`` is the size before the padding, ``batch_shape`` the one after it.

    Args:
        mean: Mean of the channels R, G, B (B, G, R without ``bgr_to_rgb``), of values 0 to 255, and
            of any further channels; as many as the backbone takes (``in_chans``).
        std: Standard deviation, likewise.
        bgr_to_rgb: Whether pictures come as BGR and the backbone wants RGB. Channels behind the
            third stay where they are; of fewer than three none moves.
        tasks: The model's tasks.
        non_blocking: Whether copies to the device are asynchronous.

    Raises:
        ValueError: ``mean`` and ``std`` differ in length, or ``std`` is not positive; a picture has
            another number of channels; in training, a label does not have its picture's size or its
            task's channels (the picture is named).

    Example:
        >>> import torch
        >>> preprocess = MultiTaskDataPreprocessor(tasks=['sal'])
        >>> pictures = [torch.zeros(3, 4, 6).byte(), torch.zeros(3, 5, 3).byte()]
        >>> samples = [MultiTaskDataSample(), MultiTaskDataSample()]
        >>> samples[0].set_gt('sal', torch.zeros(1, 4, 6).long())
        >>> batch = preprocess(dict(inputs=pictures, data_samples=samples), training=True)
        >>> batch['inputs'].shape, batch['data_samples'][0].get_gt('sal')[0, :, 0].tolist()
        (torch.Size([2, 3, 5, 6]), [0, 0, 0, 0, 255])
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[Positive] = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        tasks: TaskSpec = (),
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        if not mean or len(mean) != len(std) or min(std) <= 0:
            raise ValueError(
                'Expected as many means as positive standard deviations, one a channel, got '
                f'mean={mean}, std={std}.'
            )
        self.bgr_to_rgb = bgr_to_rgb
        self.tasks = build_tasks(tasks) if tasks else {}
        self.register_buffer(
            'mean', torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False
        )
        self.register_buffer(
            'std', torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False
        )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make a batch.

        Args:
            data: ``inputs``: a list of pictures ``(C, H, W)`` or a stack ``(B, C, H, W)``;
                ``data_samples``: a list of samples, or ``None``.
            training: Whether to pad the labels.

        Returns:
            ``inputs`` ``(B, C, H, W)``, float; ``data_samples``, a list (``None`` without).
        """
        data = self.cast_data(data)
        pictures = [self._normalize(picture) for picture in data['inputs']]
        height = max(picture.shape[1] for picture in pictures)
        width = max(picture.shape[2] for picture in pictures)
        samples = data.get('data_samples')
        if samples is not None:
            samples = list(samples)
            for sample, picture in zip(samples, pictures, strict=True):
                size = tuple(picture.shape[-2:])
                sample.set_metainfo(dict(img_shape=size, batch_shape=(height, width)))
                if training:
                    self._pad_labels(sample, size, (height, width))
        batch = torch.stack([pad(picture, (height, width)) for picture in pictures])
        return dict(inputs=batch, data_samples=samples)

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return len(self.mean)

    def _normalize(self, picture: Tensor) -> Tensor:
        channels = self.channels
        if picture.ndim != 3 or picture.shape[0] != channels:
            raise ValueError(
                f'Expected pictures ({channels}, H, W), got {tuple(picture.shape)}. A picture has '
                'as many channels as mean and std of the data_preprocessor, and in_chans of the '
                'backbone.'
            )
        if self.bgr_to_rgb and channels >= 3:
            picture = torch.cat([picture[:3].flip(0), picture[3:]])
        return (picture.float() - self.mean) / self.std

    def _apply(self, *args: Any, **kwargs: Any) -> 'MultiTaskDataPreprocessor':
        # a model in half precision would round mean and deviation, and so every picture
        kept = self.mean, self.std
        super()._apply(*args, **kwargs)
        for name, value in zip(('mean', 'std'), kept, strict=True):
            now = getattr(self, name)
            setattr(self, name, now if value.is_meta else value.to(now.device))
        return self

    def _pad_labels(
        self, sample: MultiTaskDataSample, size: tuple[int, int], batch: tuple[int, int]
    ) -> None:
        for name, task in self.tasks.items():
            label = sample.get_gt(name)
            if label is None:
                continue
            if tuple(label.shape) != (task.label_channels, *size):
                raise ValueError(_shape_message(sample, task, label, size))
            sample.set_gt(name, pad(label, batch, task.ignore_value))


def pad(x: Tensor, size: tuple[int, int], value: float = 0) -> Tensor:
    """``x`` ``(..., H, W)`` padded to ``size`` at the right and bottom."""
    height, width = size[0] - x.shape[-2], size[1] - x.shape[-1]
    # (of a size that a graph leaves open nobody knows yet)
    needed = any(not isinstance(side, int) or side for side in (height, width))
    return F.pad(x, (0, width, 0, height), value=value) if needed else x


def _shape_message(
    sample: MultiTaskDataSample, task: DenseTask, label: Tensor, size: tuple[int, int]
) -> str:
    return (
        f"Label of task '{task.name}' of picture {sample.get('img_path')}: expected "
        f'{(task.label_channels, *size)} in training, got {tuple(label.shape)}. The transforms '
        "have to bring pictures and labels to one size, and the task's channels have to match "
        'the data set.'
    )
