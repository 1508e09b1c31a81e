"""Predictions for pictures, without a Runner."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from PIL import Image
from torch import nn

from mtpeft.apis.load_model import load_model
from mtpeft.apis.pictures import picture_file, pixels
from mtpeft.apis.pretrained import shipped_config
from mtpeft.apis.read_config import load_config
from mtpeft.checkpoints.files import safe_load
from mtpeft.checkpoints.schemes import use_safe_loading
from mtpeft.models.backbones.pretrained import shipped
from mtpeft.models.prediction import TestCfg, Tta, changed_options
from mtpeft.registry import TRANSFORMS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.utils.requested import requested_tasks
from mtpeft.visualization.visualizer import MultiTaskVisualizer, photograph

Picture = str | Path | np.ndarray | Image.Image | torch.Tensor
_SHIPPED = 'mtpeft:'


def init_model(
    config: str | Path | Config | None = None,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
) -> nn.Module:
    """Build a model, load its weights, and put it in eval mode.

    Components of adapters that were pruned in training take no room in it. A config of
    mmsegmentation (``default_scope = 'mmseg'``) gives its segmentor, which
    ``mmseg.apis.inference_model`` takes.

    Args:
        config: A config or its path. ``None``: the one that a file which mtpeft ships was trained
            with. (A config is code, so that of any other file must be given.)
        checkpoint: Trained weights, a file of released code (:mod:`mtpeft.converters`), a merged
            model (tools/model_converters/merge_adapters.py), or
            ``'mtpeft:NAME'``, weights that mtpeft ships. ``None``: the pretrained base and fresh
            adapters.
        device: Where the model goes.

    Returns:
        The model; ``model.cfg`` is the config.

    Raises:
        CheckpointError: the checkpoint is damaged, of another architecture or on another base.
        PretrainedWeightsError: pretrained or shipped weights are not there.
        ValueError: ``config`` is ``None`` and ``checkpoint`` is not shipped; or the checkpoint has
            more tasks than the config, and they read one another.

    Example:
        >>> model = init_model('configs/mtlora/mtlora_swin-pico_scenes.py')  # doctest: +SKIP
    """
    use_safe_loading()
    ours = str(checkpoint).startswith(_SHIPPED)
    path = shipped(str(checkpoint)[len(_SHIPPED) :]) if ours else checkpoint
    saved = safe_load(path) if path is not None else None
    cfg = _config(config, saved if ours else None)
    return load_model(cfg, saved, f'Checkpoint {checkpoint}').to(device)


def draw_predictions(
    model: nn.Module, pictures: Sequence[dict], height: int = 192
) -> list[np.ndarray]:
    """Predict pictures, and draw each with its predictions, below its labels where it has any.

    Args:
        model: From :func:`init_model`.
        pictures: What a data set or :meth:`MultiTaskInferencer.prepare` gives.
        height: Height of one picture in the drawing, in pixels.

    Returns:
        For each ``(H, W, 3)`` uint8, RGB.

    Example:
        >>> drawn = draw_predictions(model, [dataset[0]])  # doctest: +SKIP
    """
    visualizer = MultiTaskVisualizer(tasks=dict(model.tasks), height=height)
    samples = _predicted(model, pictures)
    return [
        visualizer.draw(photograph(picture['inputs']), sample)
        for picture, sample in zip(pictures, samples, strict=True)
    ]


class MultiTaskInferencer:
    """Predicts every task for pictures of any size.

    Pictures pass the transforms of the config's ``test_dataloader``; predictions come back at the
    size of the picture.

    Args:
        model: From :func:`init_model`.
        tasks: Tasks to return, at their cost (see :meth:`MultiTaskModel.forward
            <mtpeft.models.MultiTaskModel.forward>`). ``None``: all.
        test_cfg: Windows of large pictures, such as ``dict(mode='slide', crop_size=(512, 512))``,
            see :class:`~mtpeft.models.prediction.TestCfg`. ``None``: as the model's config says.
        tta: Flips and scales, such as ``dict(flip=True)``, see
            :class:`~mtpeft.models.prediction.Tta`. ``None``: as the model's config says.

    Raises:
        KeyError: a task that the model does not have.
        TypeError, ValueError: an option of ``test_cfg`` or ``tta`` is unknown, or out of its range.

    Example:
        >>> predict = MultiTaskInferencer(model, tasks=['depth'])  # doctest: +SKIP
        >>> predict('room.jpg')['depth'].shape  # doctest: +SKIP
        (480, 640)
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[str] | None = None,
        test_cfg: TestCfg | None = None,
        tta: Tta | None = None,
    ) -> None:
        self.model = _multi_task(model)
        self.test_options = changed_options(model.test_options, test_cfg, tta)
        self.tasks = requested_tasks(tasks, model.tasks)
        cfg = getattr(model, 'cfg', None)
        self.pipeline = Compose(_pipeline(cfg))
        self.exif_rotation = bool(_data(cfg).get('exif_rotation', False))
        self.channels = getattr(model.data_preprocessor, 'channels', 3)

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        tasks: Sequence[str] | None = None,
        probabilities: bool = False,
    ) -> Any:
        """Predict.

        Args:
            images: The path of a file, read as data sets read it (turned as EXIF says only where
                the config's test data are, ``exif_rotation``); an array ``(H, W, 3)``, uint8, BGR
                as OpenCV reads it; a picture of Pillow; a tensor ``(3, H, W)``, uint8, RGB as
                torchvision reads it; or a list of them, of any sizes. A model of C channels other
                than 3 takes arrays ``(H, W, C)`` or ``.npy`` files, BGR first where there are
                colours. A picture's prediction does not depend on the others.
            tasks: Tasks to return in this call, of those the inferencer has.
            probabilities: Whether to give the probabilities of the classes too, as
                ``'<task>_probabilities'``, ``(H, W, C)`` float32.

        Returns:
            A dict of arrays by task (a list of dicts for a list): class indices ``(H, W)`` int64,
            probabilities and values ``(H, W)`` float32, vectors ``(H, W, 3)`` float32.

        Raises:
            FileNotFoundError, DataFileError, ValueError: see :meth:`prepare`.
        """
        if not isinstance(images, list | tuple):
            return self([images], tasks, probabilities)[0]
        if not images:
            return []
        wanted = requested_tasks(tasks, self.tasks, 'The inferencer')
        pictures = [self.prepare(picture, i) for i, picture in enumerate(images)]
        options = dict(probabilities=probabilities, test_options=self.test_options)
        samples = _predicted(self.model, pictures, wanted, **options)
        return [dict(_arrays(sample, wanted)) for sample in samples]

    def prepare(self, picture: Picture, index: int = 0) -> dict:
        """A picture as the model takes it, after the transforms.

        Raises:
            FileNotFoundError: there is no such file.
            DataFileError: the file is no picture that can be read, or a decompression bomb.
            ValueError: it is no picture, an empty one, or an address instead of a path.
        """
        path = str(picture) if isinstance(picture, str | Path) else ''
        exif = self.exif_rotation
        image = (
            picture_file(path, exif) if path else pixels(picture, index, self.channels, exif)
        )  # fmt: skip
        size = image.shape[:2]
        results = dict(
            img=image, img_path=path, img_id=str(index), sample_idx=index, img_shape=size,
            ori_shape=size, tasks=self.model.tasks, labels={},
        )  # fmt: skip
        return self.pipeline(results)


def _config(config: str | Path | Config | None, shipped: dict | None) -> Config:
    if isinstance(config, Config):
        return config
    if config is not None:
        return load_config(config)
    if shipped is None:
        raise ValueError(
            "init_model needs a config, unless the checkpoint is 'mtpeft:NAME', weights that "
            'mtpeft ships. Give the config that the checkpoint was trained with.'
        )
    return shipped_config(shipped['meta'])


def _predicted(
    model: nn.Module,
    pictures: Sequence[dict],
    tasks: Sequence[str] | None = None,
    **options: Any,
) -> list[MultiTaskDataSample]:
    with torch.no_grad():
        data = model.data_preprocessor(pseudo_collate(list(pictures)), False)
        return model(**data, mode='predict', tasks=tasks, **options)


def _data(cfg: Config | None) -> Mapping:
    """The data set of a config's test."""
    loader = cfg.get('test_dataloader') if cfg is not None else None
    return loader['dataset'] if loader else {}


def _pipeline(cfg: Config | None) -> list:
    steps = _data(cfg).get('pipeline') or [dict(type='PackMultiTaskInputs')]
    return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps]


def _multi_task(model: nn.Module) -> nn.Module:
    if not hasattr(model, 'test_options'):
        raise TypeError(
            f'MultiTaskInferencer predicts with a MultiTaskModel, got {type(model).__name__}. For '
            'a segmentor of mmsegmentation: mmseg.apis.inference_model(model, picture).'
        )
    return model


def _arrays(
    sample: MultiTaskDataSample, tasks: Sequence[str]
) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
    for name in tasks:
        yield name, _to_array(sample.get_pred(name))
        if (chances := sample.get_prob(name)) is not None:
            yield f'{name}_probabilities', chances.cpu().numpy().transpose(1, 2, 0)


def _to_array(prediction: torch.Tensor) -> np.ndarray:
    array = prediction.cpu().numpy()
    return array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0)
