"""What a model is as a file that needs no config beside it."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import rank_pattern
from mtpeft.adapters.ranks.patterns import idle_streams
from mtpeft.apis.load_model import frozen_bases
from mtpeft.apis.segmentor import merged_rows
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.model_state import frozen_state_keys
from mtpeft.checkpoints.plain_config import KEY, TRAINING_STATE, plain_config
from mtpeft.version import __version__


def file_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors that were trained, and the metadata of their file.

    Of a merged model, and of one whose base is random, all tensors.

    Raises:
        CheckpointError: the config is not known, or holds what JSON has not.
        ValueError: a part of the model is merged, and the rest is not.
    """
    merged = merged_rows(model)
    held = set((getattr(model, 'loaded', None) or {}).get('held') or ())
    meta: dict[str, Any] = {KEY: plain_config(config_of(model), _dataset_meta(model))}
    meta['mtpeft_version'] = __version__
    bases = _bases(model, held)
    left_out = set() if merged else frozen_state_keys(model) - held
    if any(base['weights'] == 'random' for base in bases.values()):
        left_out = set()
    state = {
        key: value
        for key, value in model.state_dict().items()
        if key not in left_out and not key.startswith(TRAINING_STATE)
    }
    if merged:
        meta['merged'] = {name: done for name, _, done, _ in merged}
    else:
        meta['base'] = bases
        pattern = rank_pattern(model)
        if pattern:
            meta.update(rank_pattern=pattern, idle_streams=idle_streams(model))
    meta['tasks'] = list(getattr(model, 'tasks', None) or ())
    return state, meta


def config_of(model: nn.Module) -> Mapping[str, Any]:
    """The config of a model: its ``cfg``, or what it was made with.

    Raises:
        CheckpointError: neither is known.
    """
    cfg = getattr(model, 'cfg', None)
    if isinstance(cfg, Config | Mapping) and isinstance(cfg.get('model'), Mapping):
        return cfg
    given = getattr(model, 'given', None)
    if given is None:
        raise CheckpointError(
            f'The config of this {type(model).__name__} is not known, so its file could not be '
            'loaded alone. Build it with init_model or from_pretrained, or set model.cfg to it.'
        )
    return dict(model=given)


def _bases(model: nn.Module, held: set[str]) -> dict[str, dict]:
    found = {}
    for name, own in frozen_bases(model).items():
        start = f'{name}.' if name else ''
        inside = {key[len(start) :] for key in held if key.startswith(start)}
        found[name] = own.base_identity(without=inside)
    return {name: base for name, base in found.items() if not name.startswith(TRAINING_STATE)}


def _dataset_meta(model: nn.Module) -> Mapping | None:
    """Classes of a segmentor of mmsegmentation; tasks of ours know theirs."""
    meta = getattr(model, 'dataset_meta', None)
    return meta if isinstance(meta, Mapping) and not getattr(model, 'tasks', None) else None
