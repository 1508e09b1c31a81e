"""Predictions for pictures of any size, as an inferencer of MMEngine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.infer import BaseInferencer
from torch import nn

from mtpeft.apis.given import Picture, listed, names_several, one_by_one
from mtpeft.apis.models_list import list_models
from mtpeft.apis.pictures import picture_file, pixels
from mtpeft.apis.pretrained import from_pretrained
from mtpeft.apis.samples import arrays_of, of_one_size
from mtpeft.models.prediction import TestCfg, Tta, changed_options
from mtpeft.registry import TRANSFORMS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.utils.requested import requested_tasks
from mtpeft.visualization.panels import draw_panels
from mtpeft.visualization.visualizer import photograph

_BATCH = 8


class MultiTaskInferencer(BaseInferencer):
    """Predicts every task for pictures of any size.

    Pictures pass the transforms of the config's ``test_dataloader``; predictions come back at the
    size of the picture. It is MMEngine's ``BaseInferencer`` with its four steps (``preprocess``,
    ``forward``, ``visualize``, ``postprocess``). It draws no bar, and threads can share one.

    Args:
        model: From :func:`~mtpeft.apis.init_model`; or whatever
            :func:`~mtpeft.apis.from_pretrained` takes: a file, a folder, ``'mtpeft:NAME'``, or a
            config and ``weights``.
        tasks: Tasks to return, at their cost (see :meth:`MultiTaskModel.forward
            <mtpeft.models.MultiTaskModel.forward>`). ``None``: all.
        test_cfg: Windows of large pictures, such as ``dict(mode='slide', crop_size=(512, 512))``,
            see :class:`~mtpeft.models.prediction.TestCfg`. ``None``: as the model's config says.
        tta: Flips and scales, such as ``dict(flip=True)``, see
            :class:`~mtpeft.models.prediction.Tta`. ``None``: as the model's config says.
        weights: Checkpoint of a model that is given as a config.
        device: Where a model goes that is read here. ``None``: a GPU, where there is one.

    Raises:
        KeyError: a task that the model does not have.
        TypeError, ValueError: an option of ``test_cfg`` or ``tta`` is unknown, or out of its range.

    Example:
        >>> predict = MultiTaskInferencer(model, tasks=['depth'])  # doctest: +SKIP
        >>> predict('room.jpg')['depth'].shape  # doctest: +SKIP
        (480, 640)
        >>> for answer in predict.stream('film.mp4'):  # doctest: +SKIP
        ...     print(answer['depth'].mean())
    """

    forward_kwargs = {'tasks', 'probabilities'}
    visualize_kwargs = {'drawings'}

    def __init__(
        self,
        model: nn.Module | str | Path | Config,
        tasks: Sequence[str] | None = None,
        test_cfg: TestCfg | None = None,
        tta: Tta | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
    ) -> None:
        # not super().__init__, which looks for models in the files of an installed repository
        self.model = _multi_task(_built(model, weights, device))
        self.cfg = getattr(self.model, 'cfg', None)
        self.test_options = changed_options(self.model.test_options, test_cfg, tta)
        self.tasks = requested_tasks(tasks, self.model.tasks)
        self.exif_rotation = bool(_data(self.cfg).get('exif_rotation', False))
        self.channels = getattr(self.model.data_preprocessor, 'channels', 3)
        self.pipeline = self._init_pipeline(self.cfg)
        self.collate_fn = pseudo_collate

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        tasks: Sequence[str] | None = None,
        probabilities: bool = False,
        batch_size: int = _BATCH,
        return_datasamples: bool = False,
        drawings: bool = False,
    ) -> Any:
        """Predict.

        Args:
            images: The path of a file, read as data sets read it (turned as EXIF says only where
                the config's test data are, ``exif_rotation``); an array ``(H, W, 3)``, uint8, BGR
                as OpenCV reads it; a picture of Pillow; a tensor ``(3, H, W)``, uint8, RGB as
                torchvision reads it; or a list of them, of any sizes. A folder, or a pattern such
                as ``'photos/*.jpg'``, is a list of its pictures in the order of their names. A
                model of C channels other than 3 takes arrays ``(H, W, C)`` or ``.npy`` files, BGR
                first where there are colours. A picture's prediction does not depend on the others.
            tasks: Tasks to return in this call, of those the inferencer has.
            probabilities: Whether to give the probabilities of the classes too, as
                ``'<task>_probabilities'``, ``(H, W, C)`` float32.
            batch_size: How many pictures are read before they are predicted. Those that are padded
                to one size share a pass.
            return_datasamples: Whether to return samples
                (:class:`~mtpeft.structures.MultiTaskDataSample`) instead of arrays.
            drawings: Whether to add ``'drawing'``, ``(H', W', 3)`` uint8, RGB: the picture and its
                maps, with what their colours mean.

        Returns:
            A dict of arrays by task (a list of dicts for a list): class indices ``(H, W)`` int64,
            probabilities and values ``(H, W)`` float32, vectors ``(H, W, 3)`` float32.

        Raises:
            FileNotFoundError, DataFileError, ValueError: see :meth:`prepare`.
        """
        several = isinstance(images, list | tuple) or names_several(images)
        pictures = listed(images)
        options = (tasks, probabilities, batch_size, return_datasamples, drawings)
        answers = list(self._answers(pictures, *options))
        return answers if several else answers[0]

    def stream(
        self,
        images: Picture | int | Iterable[Picture],
        tasks: Sequence[str] | None = None,
        probabilities: bool = False,
        batch_size: int = _BATCH,
        return_datasamples: bool = False,
        drawings: bool = False,
    ) -> Iterator[Any]:
        """Predict one batch after another, for what is too long to be held.

        Args:
            images: As in a call, and anything that gives pictures one by one, such as a generator
                or a data loader; the path of a video; the number of a camera.
            tasks, probabilities, batch_size, return_datasamples, drawings: As in a call.

        Yields:
            What a call gives for each picture or frame, in their order.

        Raises:
            FileNotFoundError, DataFileError, ValueError: see :meth:`prepare`; a video that cannot
                be decoded, or that ends early (after the frames that there are).
        """
        requested_tasks(tasks, self.tasks, 'The inferencer')  # at once, not with the first answer
        options = (tasks, probabilities, batch_size, return_datasamples, drawings)
        return self._answers(one_by_one(images), *options)

    def _answers(
        self,
        pictures: Iterable[Picture],
        tasks: Sequence[str] | None,
        probabilities: bool,
        batch_size: int,
        return_datasamples: bool,
        drawings: bool,
    ) -> Iterator[Any]:
        wanted = requested_tasks(tasks, self.tasks, 'The inferencer')
        for data in self.preprocess(pictures, batch_size):
            samples = self.forward(data, tasks=wanted, probabilities=probabilities)
            drawn = self.visualize(data['inputs'], samples, drawings)
            yield from self.postprocess(samples, drawn, return_datasamples)

    @staticmethod
    def list_models(pattern: str = '*') -> list[str]:
        """See :func:`mtpeft.apis.list_models`; MMEngine's would look for a repository's files."""
        return list_models(pattern)

    def read(self, picture: Picture, index: int = 0, exif: bool | None = None) -> np.ndarray:
        """A picture as an array ``(H, W, C)``, BGR.

        Args:
            picture: See :meth:`__call__`.
            index: Its place, for messages.
            exif: Turn it as its EXIF orientation says. ``None``: as the config's test data are.

        Raises:
            FileNotFoundError, DataFileError, ValueError: see :meth:`prepare`.
        """
        exif = self.exif_rotation if exif is None else exif
        if isinstance(picture, str | Path):
            return picture_file(str(picture), exif)
        return pixels(picture, index, self.channels, exif)

    def prepare(self, picture: Picture, index: int = 0) -> dict:
        """A picture as the model takes it, after the transforms.

        Raises:
            FileNotFoundError: there is no such file.
            DataFileError: the file is no picture that can be read, or a decompression bomb.
            ValueError: it is no picture, an empty one, or an address instead of a path.
        """
        path = str(picture) if isinstance(picture, str | Path) else ''
        image = self.read(picture, index)
        size = image.shape[:2]
        results = dict(
            img=image, img_path=path, img_id=str(index), sample_idx=index, img_shape=size,
            ori_shape=size, tasks=self.model.tasks, labels={},
        )  # fmt: skip
        return self.pipeline(results)

    def preprocess(
        self, inputs: Iterable[Picture], batch_size: int = 1, **kwargs: Any
    ) -> Iterator[dict]:  # fmt: skip
        """Batches of prepared pictures, each read when it is wanted."""
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f'Expected batch_size to be a positive integer, got {batch_size!r}.')
        prepared = (self.prepare(picture, index) for index, picture in enumerate(inputs))
        while batch := list(islice(prepared, batch_size)):
            yield self.collate_fn(batch)

    @torch.no_grad()
    def forward(
        self,
        inputs: dict,
        tasks: Sequence[str] | None = None,
        probabilities: bool = False,
        **kwargs: Any,
    ) -> list[MultiTaskDataSample]:
        """Samples with predictions, in the order of the pictures.

        Pictures that are padded to one size share a pass. (In one batch, a large picture would
        make all the others as large.)
        """
        pictures, samples = inputs['inputs'], inputs['data_samples']
        options = dict(tasks=tasks, probabilities=probabilities, test_options=self.test_options)
        divisor = getattr(self.model.backbone, 'size_divisor', 1)
        made: list[MultiTaskDataSample | None] = [None] * len(pictures)
        for places in of_one_size(pictures, divisor):
            some = dict(
                inputs=[pictures[i] for i in places], data_samples=[samples[i] for i in places]
            )
            data = self.model.data_preprocessor(some, False)
            for place, sample in zip(
                places, self.model(**data, mode='predict', **options), strict=True
            ):
                made[place] = sample
        return made

    def visualize(
        self,
        inputs: Sequence[torch.Tensor],
        preds: Sequence[MultiTaskDataSample],
        drawings: bool = False,
        **kwargs: Any,
    ) -> list[np.ndarray]:
        """A drawing of each picture, ``(H, W, 3)`` uint8, RGB; none where none is wanted."""
        tasks, places = self.model.tasks, range(len(preds) if drawings else 0)
        return [
            draw_panels(tasks, photograph(inputs[i]), arrays_of(preds[i], tasks)).array()
            for i in places
        ]

    def postprocess(
        self,
        preds: Sequence[MultiTaskDataSample],
        visualization: Sequence[np.ndarray] = (),
        return_datasamples: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """What a call returns, of each picture."""
        if return_datasamples:
            return list(preds)
        answers = [arrays_of(sample, self.model.tasks) for sample in preds]
        for answer, drawn in zip(answers, visualization, strict=False):
            answer['drawing'] = drawn
        return answers

    def _init_pipeline(self, cfg: Config | None) -> Compose:
        steps = _data(cfg).get('pipeline') or [dict(type='PackMultiTaskInputs')]
        return Compose(
            [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps]
        )


def _built(
    model: nn.Module | str | Path | Config, weights: str | Path | None, device: str | None
) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    return from_pretrained(model, weights, device)


def _data(cfg: Config | None) -> Mapping:
    """The data set of a config's test."""
    loader = cfg.get('test_dataloader') if cfg is not None else None
    return loader['dataset'] if loader else {}


def _multi_task(model: nn.Module) -> nn.Module:
    if not hasattr(model, 'test_options'):
        raise TypeError(
            f'MultiTaskInferencer predicts with a MultiTaskModel, got {type(model).__name__}. For '
            'a segmentor of mmsegmentation: mmseg.apis.inference_model(model, picture).'
        )
    return model
