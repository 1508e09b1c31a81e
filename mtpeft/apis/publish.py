"""What a run has trained, as one small file to pass on (``mtpeft publish``)."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtpeft.checkpoints.config_text import read_config_text
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.plain_config import KEY, plain_config
from mtpeft.checkpoints.rank_truncate import truncate
from mtpeft.utils.paths import name_alone, without_folders
from mtpeft.version import __version__

_AVERAGED = 'ema_state_dict'
_PREFIX = 'module.'
_META = ('base', 'rank_pattern', 'idle_streams', 'tasks', 'cfg', KEY)


def read(path: Path) -> dict:
    """A checkpoint that a run wrote.

    Raises:
        SystemExit: the file is none.
    """
    try:
        saved = safe_load(path)
    except (FileNotFoundError, CheckpointError) as error:
        raise SystemExit(str(error)) from error
    state = saved.get('state_dict')
    has_state = isinstance(state, Mapping) and all(map(torch.is_tensor, state.values()))
    if not has_state or not isinstance(saved.get('meta'), Mapping) or 'epoch' not in saved['meta']:
        raise SystemExit(
            f"{path} is no checkpoint of a run: expected 'state_dict' with tensors and 'meta' with "
            f'the epoch, got {", ".join(map(repr, saved)) or "nothing"}. Give a file such as '
            'epoch_10.pth or best_*.pth from a work dir.'
        )
    return saved


def choose(saved: Mapping, ema: bool | None, path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict to publish, and ``'averaged'`` or ``'trained'``.

    MMEngine's ``EMAHook`` writes the average as ``state_dict`` and what was averaged beside it.
    """
    if _AVERAGED not in saved:
        if ema:
            raise SystemExit(
                f'{path} has no average (the run had no EMAHook). Leave --ema out to publish the '
                'weights that it has.'
            )
        return saved['state_dict'], 'trained'
    if ema is not False:
        return saved['state_dict'], 'averaged'
    beside = {
        key.removeprefix(_PREFIX): value
        for key, value in saved[_AVERAGED].items() if key.startswith(_PREFIX)
    }  # fmt: skip
    # without update_buffers, the average has no buffers of its own
    return {**saved['state_dict'], **beside}, 'trained'


def cut(saved: dict, state: dict[str, Tensor], rank: int, path: Path) -> dict[str, Tensor]:
    """``state`` with adapters of at most ``rank``; the meta of ``saved`` says so afterwards."""
    run = saved.get('dylora')
    if run is None:
        raise SystemExit(
            f'{path} was not trained for other ranks than its own: --rank needs a run with '
            'DyLoRAHook, whose components are in order of their use.'
        )
    if rank < 1:
        raise SystemExit(f'Expected --rank to be at least 1, got {rank}.')
    state, pattern = truncate(state, run['components'], rank, run['rescale'])
    saved['meta']['rank_pattern'] = pattern
    return state


def shorten_idle(meta: dict, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with one component of each shared path that has no effect; ``meta`` says so too."""
    state = dict(state)
    for layer, streams in meta.get('idle_streams', {}).items():
        keys = {f'{layer}.adapter.A': 0, f'{layer}.adapter.B': 1}
        if 'shared' in streams and all(key in state for key in keys):
            state |= {key: state[key].narrow(axis, 0, 1) for key, axis in keys.items()}
            meta['rank_pattern'][layer]['shared'] = 1
    return state


def own_config(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The config as JSON, of the text of a checkpoint of an earlier version, where it can be had.

    With it the file is loaded alone. Nothing of the text is run.
    """
    if KEY in meta:
        return {}
    try:
        return {KEY: plain_config(read_config_text(meta.get('cfg') or '', meta.get('tasks') or ()))}
    except CheckpointError as error:
        print(f'The file will need its config beside it. {error}')
        return {}


def describe(meta: Mapping, weights: str, path: Path) -> dict[str, Any]:
    """The metadata of a published file, without folders of this machine."""
    known = {**own_config(meta), **{key: meta[key] for key in _META if key in meta}}
    if isinstance(known.get('cfg'), str):
        known['cfg'] = without_folders(known['cfg'])
    if known.get('base'):
        known['base'] = {
            part: {**base, 'weights': name_alone(str(base.get('weights', '')))}
            for part, base in known['base'].items()
        }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(
        known, weights=weights, mtpeft_version=__version__,
        source=dict(name=path.name, sha256=digest, epoch=meta['epoch'], iter=meta.get('iter')),
    )  # fmt: skip
