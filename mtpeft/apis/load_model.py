"""A model of a config with the weights of a file, on the base that the file was trained on."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import compact
from mtpeft.apis.merged_file import is_merged, load_merged
from mtpeft.apis.segmentor import build_model, tell_data_set
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.model_state import check_base, frozen_state_keys, lacks_base, load_checked
from mtpeft.checkpoints.partial import of_some_tasks, tasks_of
from mtpeft.checkpoints.plain_config import TRAINING_STATE
from mtpeft.converters.files import converted
from mtpeft.models.adapted_network import AdaptedNetwork
from mtpeft.models.backbones.frozen_base import FrozenBase
from mtpeft.models.backbones.pretrained import BaseWeights, names_weights
from mtpeft.models.requested import check_untied
from mtpeft.utils.details import without_reports
from mtpeft.utils.type_names import type_name


def load_model(
    cfg: Config,
    saved: Mapping[str, Any] | None,
    what: str,
    base: BaseWeights | nn.Module = None,
    alone: bool = False,
) -> nn.Module:
    """Build the model of a config and load weights into it.

    Args:
        cfg: The config.
        saved: What :func:`~mtpeft.checkpoints.files.safe_load` gave; ``None``: the pretrained base
            and fresh adapters.
        what: The file, for messages.
        base: Weights of the base in place of those that the config names: a path or tensors by
            name; for adapters of a network of one's own, that network.
        alone: The config is that of the file itself, without what only training needs.

    Returns:
        The model in eval mode; ``model.cfg`` is the config.

    Raises:
        CheckpointError, PretrainedWeightsError, ValueError: see :func:`mtpeft.apis.init_model`.
    """
    if saved is not None and is_merged(saved):
        if base is not None:
            raise CheckpointError(f'{what} is a merged model, with its base inside: give no base.')
        model = load_merged(cfg, saved, what)
    else:
        model = _on_base(cfg, saved, what, base, alone)
    own = dict(meta=dict(dataset_meta=cfg.get('dataset_meta'))) if alone else saved
    tell_data_set(model, own)
    model.cfg = cfg
    return model.eval()


def _on_base(
    cfg: Config, saved: Mapping | None, what: str, base: BaseWeights | nn.Module, alone: bool
) -> nn.Module:
    model = _built(cfg, base)
    saved = saved and (converted(saved) or saved)
    state = None if saved is None else saved.get('state_dict', saved)
    if alone:
        state = predicting(state, model)
    bases = ((saved or {}).get('meta') or {}).get('base') or {}
    partial = state is None or lacks_base(model, state)
    if partial and hasattr(model, 'init_weights'):
        if alone:
            _refuse_unnamed(model, bases, what)
        with without_reports():
            model.init_weights()
        if isinstance(base, Mapping):
            give_base(model, None)  # or it would be kept a second time
    if state is not None:
        held = frozen_state_keys(model) & set(state) if partial else set()
        if partial:
            check_base(model, bases, what, held)
            note_held(model, held)
        load_weights(model, state, saved, what)
        model.loaded = dict(base=bases, held=held)
    return model


def _built(cfg: Config, base: BaseWeights | nn.Module) -> nn.Module:
    if isinstance(base, nn.Module):
        if type_name(cfg.model) != AdaptedNetwork.__name__:
            raise ValueError(
                f'base: a network is for adapters of mtpeft.adapt, got {type(base).__name__} for a '
                f'{type_name(cfg.model)}. Give the path of its weights, or tensors by name.'
            )
        return build_model(cfg, network=base)
    model = build_model(cfg)
    if base is not None:
        give_base(model, base)
    return model


def load_weights(model: nn.Module, state: Mapping[str, Tensor], saved: Mapping, what: str) -> None:
    """Load the state of a file, of the same tasks or of more."""
    kept = of_some_tasks(state, getattr(model, 'tasks', ()), tasks_of(saved))
    if len(kept) < len(state):
        check_untied(model, what)
    load_checked(model, kept, what)
    compact(model)


def predicting(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """``state`` without what only training needs, where the model has it not."""
    own = model.state_dict()
    return {k: v for k, v in state.items() if k in own or not k.startswith(TRAINING_STATE)}


def frozen_bases(model: nn.Module) -> dict[str, FrozenBase]:
    """The parts of a model that have a frozen base, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, FrozenBase)}


def give_base(model: nn.Module, base: BaseWeights) -> None:
    """Let a model load its base from ``base``.

    Raises:
        ValueError: it has none, or several.
    """
    bases = frozen_bases(model)
    if len(bases) != 1:
        raise ValueError(
            f'base: expected a model with one frozen base, {type(model).__name__} has '
            f'{len(bases)} ({", ".join(bases) or "none"}). Name the weights in its config.'
        )
    (own,) = bases.values()
    own.base_cfg = {k: v for k, v in own.base_cfg.items() if k != 'init_cfg'}
    own.base_cfg['pretrained'] = base


def _refuse_unnamed(model: nn.Module, saved: Mapping, what: str) -> None:
    """Raise CheckpointError where nothing says where the base of a file is."""
    for name, own in frozen_bases(model).items():
        known = saved.get(name) or {}
        if not own.has_base and not names_weights(own.base_cfg):
            raise CheckpointError(
                f'{what} holds adapters without their base, and its base came from a file '
                f'({known.get("weights", "unknown")}, sha256 of its frozen entries '
                f'{str(known.get("sha256"))[:12]}). Give it: from_pretrained(..., base=PATH).'
            )


def note_held(model: nn.Module, held: set[str]) -> None:
    """Let bases keep copies of what a file is about to change of them."""
    for name, own in frozen_bases(model).items():
        start = f'{name}.' if name else ''
        own.note_start({key[len(start) :] for key in held if key.startswith(start)})
