"""Saving a model as a folder that ``from_pretrained`` takes, and putting it on the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mtpeft.apis.hub import check_repository, upload
from mtpeft.apis.model_card import model_card
from mtpeft.apis.pretrained import MODEL
from mtpeft.apis.shared_file import file_of
from mtpeft.checkpoints.digest import safetensors_bytes
from mtpeft.checkpoints.plain_config import KEY
from mtpeft.registry import SERVICES
from mtpeft.utils.atomic import write_atomically


@SERVICES.register_module()
def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    half: bool = False,
    name: str | None = None,
    data: str = '',
    metrics: Mapping[str, float] | None = None,
    licence: str = '',
) -> list[Path]:
    """Write what was trained as a folder that :func:`mtpeft.from_pretrained` takes.

    ``model.safetensors`` holds the trained tensors, without the base that they stand on (a merged
    model whole), and the config as JSON. ``config.json`` is that config once more, to be read by
    people, and ``README.md`` a card of the model. Files of these names are replaced.

    Args:
        model: A model of :func:`mtpeft.from_pretrained`, ``init_model``, a run, or of parts whose
            configs are known.
        folder: The folder, which is made.
        half: Store float16.
        name: What the card calls the model. Default: the folder's name.
        data: What it was trained on, for the card.
        metrics: Results, for the card.
        licence: Of the weights, as the hub writes it (``'apache-2.0'``), for the card.

    Returns:
        The files.

    Raises:
        CheckpointError: a tensor is not finite, or the config holds what JSON has not (its place is
            named). Nothing is written.
        OSError: a file could not be written.

    Example:
        >>> save_pretrained(model, 'rooms')  # doctest: +SKIP
    """
    state, meta = file_of(model)
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    weights = safetensors_bytes(state, meta, 'Save without half.' if half else '')
    folder = Path(folder)
    card = model_card(model, meta, name or folder.resolve().name, data, metrics, licence)
    contents = {
        MODEL: weights,
        'config.json': (json.dumps(meta[KEY], indent=2) + '\n').encode(),
        'README.md': card.encode(),
    }
    for file, content in contents.items():
        write_atomically(content, folder / file)
    return [folder / file for file in contents]


@SERVICES.register_module()
def push_to_hub(
    model: nn.Module,
    repository: str,
    folder: str | Path | None = None,
    private: bool = False,
    token: str | None = None,
    message: str = 'A model of mtpeft',
    **options: Any,
) -> str:
    """Save a model and put it on the Hugging Face hub.

    Args:
        model: The model.
        repository: ``'user/name'``.
        folder: Where it is saved first. Default: a folder of the repository's name here.
        private: Whether a new repository is private.
        token: Of the hub. ``None``: the one you are logged in with.
        message: Of the commit.
        **options: Of :func:`save_pretrained`: ``half``, ``data``, ``metrics``, ``licence``.

    Returns:
        The address of what was put there.

    Raises:
        HubError: the hub cannot be reached; the files that were written here are listed.
        CheckpointError: see :func:`save_pretrained`.

    Example:
        >>> push_to_hub(model, 'me/rooms', data='my rooms', licence='mit')  # doctest: +SKIP
    """
    check_repository(repository)
    folder = Path(repository.rpartition('/')[2] if folder is None else folder)
    options.setdefault('name', repository)
    save_pretrained(model, folder, **options)
    return upload(folder, repository, private, token, message)
