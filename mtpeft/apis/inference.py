"""Predictions for pictures, without a Runner."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from mtpeft.apis.load_model import load_model
from mtpeft.apis.pretrained import shipped_config
from mtpeft.apis.read_config import load_config
from mtpeft.checkpoints.files import safe_load
from mtpeft.checkpoints.schemes import use_safe_loading
from mtpeft.models.backbones.pretrained import shipped
from mtpeft.utils.requested import requested_tasks
from mtpeft.visualization.comparison import TRUTH, draw_comparison
from mtpeft.visualization.panels import with_margin
from mtpeft.visualization.sheet import Sheet, stacked
from mtpeft.visualization.visualizer import MultiTaskVisualizer, array_of, photograph

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
            model (``mtpeft merge``), or
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
    with torch.no_grad():
        data = model.data_preprocessor(pseudo_collate(list(pictures)), False)
        samples = model(**data, mode='predict')
    return [
        visualizer.draw(photograph(picture['inputs']), sample)
        for picture, sample in zip(pictures, samples, strict=True)
    ]


def compare_predictions(
    models: Mapping[str, nn.Module],
    pictures: Sequence[dict],
    height: int = 160,
    draw_input: bool = True,
    density: float = 1.0,
    tasks: Sequence[str] | None = None,
) -> Sheet:
    """Draw pictures with their labels and what several models predict, a row a model.

    All rows of a picture share their colours, so depth can be compared.

    Args:
        models: From :func:`init_model`, by the names of their rows; columns are the tasks of all.
        pictures: What a data set gives, prepared as the models' configs say.
        height: Height of one map in the drawing.
        draw_input: Draw the photographs too, also below class maps.
        density: Pixels a unit of ``height``.
        tasks: Names of the columns, in their order. ``None``: all, as the models have them.

    Returns:
        The drawing; its ``save(path)`` writes .png, .jpg, .pdf or .svg.

    Example:
        >>> sheet = compare_predictions({'LoRA': one, 'FAAR': other},
        ...                             [dataset[0]])  # doctest: +SKIP
        >>> sheet.save('figure.pdf')  # doctest: +SKIP
    """
    known = {name: task for model in models.values() for name, task in model.tasks.items()}
    requested_tasks(tasks, known, 'No model')  # one that is not there is named
    columns = {name: known[name] for name in tasks or known}
    parts = []
    for number, picture in enumerate(pictures):
        rows: dict[str, dict] = {}
        for label, model in models.items():
            with torch.no_grad():
                data = model.data_preprocessor(pseudo_collate([picture]), False)
                (sample,) = model(**data, mode='predict')
            truth = {name: array_of(gt) for name, gt in sample.gt.items()}
            rows[TRUTH] = rows.get(TRUTH, {}) | truth
            rows[label] = {name: array_of(pred) for name, pred in sample.pred.items()}
        image = photograph(picture['inputs'])
        rows = {label: maps for label, maps in rows.items() if maps}
        parts.append(draw_comparison(columns, image, rows, height, draw_input, not number, density))
    return with_margin(stacked(parts))


def _config(config: str | Path | Config | None, shipped: dict | None) -> Config:
    if isinstance(config, Config):
        return config
    if config is not None:
        return load_config(config)
    if shipped is None:
        raise ValueError(
            "init_model needs a config, unless the checkpoint is 'mtpeft:NAME', weights that "
            'mtpeft ships. Give the config that the checkpoint was trained with; a file that holds '
            'its own is loaded by from_pretrained.'
        )
    return shipped_config(shipped['meta'])
