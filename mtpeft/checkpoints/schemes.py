"""How MMEngine's Runner finds the file behind a checkpoint's address, without unpickling it."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank
from mmengine.runner import CheckpointLoader, checkpoint

from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.utils.suggest import hint


def use_safe_loading() -> None:
    """Make everything that MMEngine loads in this process go through :func:`safe_load`.

    MMEngine's own loaders fall back to unpickling whatever the file holds. Replaced are those of
    local paths, ``http(s)://`` and the named models (``torchvision://``, ``open-mmlab://``,
    ``mmcls://``); the rest (``s3://``, ``petrel://``, ``pavi://``) is refused.
    """
    loaders = {
        '': load_from_local,
        ('http://', 'https://'): load_from_url,
        tuple(_TABLES): load_from_name,
        (r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'pavi://'): load_from_refused,
    }
    for prefixes, loader in loaders.items():
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Loader of local paths."""
    return safe_load(filename, map_location or 'cpu')


def load_from_url(filename: str, map_location: Any = None) -> dict:
    """Loader of ``http(s)://``: keeps the download in torch's hub folder, then reads it safely."""
    target = Path(torch.hub.get_dir()) / 'checkpoints' / filename.rsplit('/', 1)[-1].split('?')[0]
    if get_rank() == 0 and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(target), progress=False)
    barrier()
    return safe_load(target, map_location or 'cpu')


_TABLES = {
    'torchvision://': checkpoint.get_torchvision_models,
    'modelzoo://': checkpoint.get_torchvision_models,
    'open-mmlab://': checkpoint.get_external_models,
    'openmmlab://': checkpoint.get_external_models,
    'mmcls://': checkpoint.get_mmcls_models,
}


def load_from_name(filename: str, map_location: Any = None) -> dict:
    """Loader of models that OpenMMLab knows by name.

    Raises:
        KeyError: there is no model of that name.
    """
    scheme, name = filename.split('://', 1)
    table = _TABLES[f'{scheme}://']()
    if name not in table:
        raise KeyError(f"'{filename}' is unknown. " + hint(name, table))
    loaded = load_from_url(table[name], map_location)
    return checkpoint._process_mmcls_checkpoint(loaded) if scheme == 'mmcls' else loaded


def load_from_refused(filename: str, map_location: Any = None) -> dict:
    """Loader of schemes whose files MMEngine would unpickle.

    Raises:
        CheckpointError: always.
    """
    raise CheckpointError(
        f"Checkpoint '{filename}' cannot be read safely through this scheme. Download the file and "
        'give its local path, or its https:// address.'
    )
