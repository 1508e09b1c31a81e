"""One call for everything that a trained model can be: a file, a folder, a name, a repository."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from torch import nn

from mtpeft.apis.hub import downloaded, looks_like_hub
from mtpeft.apis.load_model import load_model
from mtpeft.apis.merged_file import is_merged
from mtpeft.apis.read_config import load_config
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.plain_config import KEY, from_plain
from mtpeft.checkpoints.schemes import use_safe_loading
from mtpeft.checkpoints.work_dir import last_checkpoint
from mtpeft.models.backbones.pretrained import BaseWeights, PretrainedWeightsError, shipped
from mtpeft.utils.shipped import shipped_configs
from mtpeft.utils.suggest import hint

MODEL = 'model.safetensors'
"""The file of a folder that ``save_pretrained`` wrote."""

_SHIPPED = 'mtpeft:'
_WEIGHTS = ('.safetensors', '.pth', '.pt')


def from_pretrained(
    source: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
    base: BaseWeights | nn.Module = None,
) -> nn.Module:
    """A trained model, in eval mode.

    ==============================  ============================================================
    ``source``                      what it is
    ==============================  ============================================================
    ``'model.safetensors'``         a file of ``save_pretrained``, ``publish_model.py`` or
                                    ``merge_adapters.py``, which holds its config
    a folder                        of ``save_pretrained``; or the work dir of a run: its config
                                    and its best checkpoint, or else its last
    ``'mtpeft:NAME'``               a model that mtpeft ships
    a config, with ``checkpoint``   a checkpoint of a run, or any file above
    ``'user/name'``                 a repository of the Hugging Face hub, ``'user/name@revision'``
    ==============================  ============================================================

    What is there as a file or a folder is that; only other names are looked for on the hub. Nothing
    of a file is run, and its config can name no other files (docs/security.md). A config of Python
    is code.

    Args:
        source: See above.
        checkpoint: Weights for a config; of a work dir, the name of one of its checkpoints.
        device: Where the model goes.
        base: Weights of the frozen base, a path or tensors by name. ``None``: as the config says,
            by name. Of a file of :func:`mtpeft.adapt`, the network itself.

    Returns:
        The model; ``model.cfg`` is its config.

    Raises:
        FileNotFoundError: there is no such file, folder or name.
        CheckpointError: the file is damaged, of a newer version, of another base, or an old one
            without its config.
        PretrainedWeightsError: the base cannot be had.
        HubError: the hub cannot be reached, or has no such repository.

    Example:
        >>> model = from_pretrained('mtpeft:faar_efficientnet-lite2_scenes')  # doctest: +SKIP
    """
    opened = open_model(source, checkpoint)
    try:
        model = load_model(opened.cfg, opened.saved, opened.what, base, opened.alone)
    except PretrainedWeightsError as error:
        if base is not None or not opened.alone:
            raise
        raise PretrainedWeightsError(
            f'{opened.what} holds what was trained, without its base. {error} Or give it: '
            'from_pretrained(..., base=PATH).'
        ) from error
    return model.to(device)


class Opened(NamedTuple):
    """What :func:`open_model` found.

    Attributes:
        cfg: The config of the model.
        saved: What its file holds.
        what: What messages call it.
        alone: The config is the one inside of the file.
    """

    cfg: Config
    saved: Mapping[str, Any]
    what: str
    alone: bool


def open_model(source: str | Path | Config, checkpoint: str | Path | None = None) -> Opened:
    """Config and content of a model, see :func:`from_pretrained`; nothing is built."""
    use_safe_loading()
    cfg, path, what = _found(source, checkpoint)
    saved = safe_load(path)
    if cfg is not None:
        return Opened(cfg, saved, what, False)
    cfg = _own_config(saved, what, shipped=str(source).startswith(_SHIPPED))
    return Opened(cfg, saved, what, True)


def _found(
    source: str | Path | Config, checkpoint: str | Path | None
) -> tuple[Config | None, Path, str]:
    """The config (``None``: it is in the file), the file, and what to call it."""
    if isinstance(source, Config):
        return source, _weights(checkpoint, str(source.filename or 'The config')), f'{checkpoint}'
    text = str(source)
    path = Path(text).expanduser()
    is_file = text.startswith(_SHIPPED) or (path.is_file() and path.suffix in _WEIGHTS)
    if is_file and checkpoint is not None:
        raise CheckpointError(
            f'{text} is a model by itself, and checkpoint={checkpoint} is for a config or a work '
            'dir. Give one of the two.'
        )
    if text.startswith(_SHIPPED):
        return None, shipped(text[len(_SHIPPED) :]), f'Model {text}'
    if path.is_dir():
        return _in_folder(path, checkpoint)
    if is_file:
        return None, path, f'Checkpoint {path}'
    if path.suffix == '.py':
        return load_config(path), _weights(checkpoint, text), f'Checkpoint {checkpoint}'
    if path.is_file():
        raise CheckpointError(
            f'{path}: expected a model ({", ".join(_WEIGHTS)}) or a config (.py), got {path.name}.'
        )
    if checkpoint is not None or path.suffix in _WEIGHTS or not looks_like_hub(text):
        return _by_name(text, checkpoint)
    folder = downloaded(text)
    return _in_folder(folder, checkpoint)[:2] + (f'Model {text}',)


def _by_name(text: str, checkpoint: str | Path | None) -> tuple[Config | None, Path, str]:
    """A config by its name alone; what a user may have meant otherwise."""
    if checkpoint is not None or text in shipped_configs():
        return load_config(text), _weights(checkpoint, text), f'Checkpoint {checkpoint}'
    path = Path(text).expanduser()
    near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise FileNotFoundError(
        f'{text}: no such file or folder. {hint(path.name, near) if near else ""} A model that '
        "mtpeft ships is 'mtpeft:NAME' (mtpeft.list_models()), a repository of the hub 'user/name'."
    )


def _weights(checkpoint: str | Path | None, config: str) -> Path:
    if checkpoint is None:
        raise CheckpointError(
            f'{config} is a config, which has no trained weights. Give the checkpoint too.'
        )
    text = str(checkpoint)
    return shipped(text[len(_SHIPPED) :]) if text.startswith(_SHIPPED) else Path(text)


def _in_folder(
    folder: Path, checkpoint: str | Path | None
) -> tuple[Config | None, Path, str]:  # fmt: skip
    """A folder of ``save_pretrained``, or the work dir of a run."""
    file = folder / MODEL
    if file.is_file() and checkpoint is None:
        return None, file, f'Checkpoint {file}'
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1:
        raise CheckpointError(
            f'{folder} is no folder of a model: expected {MODEL} (of save_pretrained), or the '
            f'work dir of a run with one config, found {_names(configs) or "no config"}.'
        )
    path = _checkpoint_in(folder, checkpoint)
    return load_config(configs[0]), path, f'Checkpoint {path}'


def _checkpoint_in(folder: Path, checkpoint: str | Path | None) -> Path:
    if checkpoint is not None:
        named = folder / checkpoint
        return named if named.is_file() else Path(checkpoint)
    best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    if best:
        return best[-1]
    try:
        last = last_checkpoint(folder)
    except CheckpointError as error:
        raise CheckpointError(re.sub('^--resume: ', '', str(error))) from error
    if last is None:
        raise CheckpointError(f'{folder} has no checkpoint yet (best_*.pth or epoch_*.pth).')
    return Path(last)


def _own_config(saved: Mapping[str, Any], what: str, shipped: bool) -> Config:
    """The config inside of a file."""
    meta = saved.get('meta') or {}
    if KEY in meta:
        return from_plain(meta[KEY], what)
    if shipped and isinstance(meta.get('cfg'), str):
        return shipped_config(meta)
    kind = 'merged model' if is_merged(saved) else 'file'
    raise CheckpointError(
        f'{what}: this {kind} does not hold its config as JSON (it is of an earlier version, or no '
        'file of mtpeft). Give the config that it was trained with: '
        "from_pretrained('CONFIG.py', checkpoint='FILE')."
    )


def shipped_config(meta: Mapping[str, Any]) -> Config:
    """The config of a file that mtpeft ships, which is code of ours."""
    cfg = Config.fromstring(meta['cfg'], '.py')
    # a config that is written out has its keys in the order of the alphabet
    cfg.model.tasks = {name: cfg.model.tasks[name] for name in meta['tasks']}
    return cfg


def _names(paths: list[Path]) -> str:
    return ', '.join(path.name for path in paths)
