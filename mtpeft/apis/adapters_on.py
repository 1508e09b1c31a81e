"""A set of adapters from a file, on the base that another model has in memory."""

from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mtpeft.apis.load_model import load_weights, note_held, predicting
from mtpeft.apis.merged_file import is_merged
from mtpeft.apis.pretrained import Opened, open_model
from mtpeft.apis.segmentor import build_model
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.checkpoints.model_state import check_base, frozen_state_keys
from mtpeft.models.adapter_sets import held_of
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.backbones.lent_base import base_tensors, share, start_from
from mtpeft.models.build import number_type
from mtpeft.registry import SERVICES


@SERVICES.register_module()
def adapters_on(
    model: nn.Module, source: str | Path | Config, checkpoint: str | Path | None = None
) -> nn.Module:
    """A model of its own whose frozen tensors are those of ``model``.

    Nothing of the base is fetched: what the set's file leaves out is taken from ``model``.

    Args:
        model: A model with an :class:`~mtpeft.models.AdapterBackbone`.
        source: See :func:`mtpeft.from_pretrained`.
        checkpoint: See there.

    Raises:
        ValueError: one of the two is merged, or ``model`` is no model of float32 with adapters.
        CheckpointError: the bases differ, or the file cannot be used.

    Example:
        >>> other = adapters_on(model, 'rooms')  # doctest: +SKIP
    """
    _check(model)
    opened = open_model(source, checkpoint)
    if is_merged(opened.saved):
        raise ValueError(
            f'{opened.what} is a merged model, whose adapters are in its weights. Give what it was '
            'merged from.'
        )
    base = base_tensors(model.backbone)
    new = build_model(opened.cfg)
    if not isinstance(getattr(new, 'backbone', None), AdapterBackbone):
        raise ValueError(f'{opened.what}: expected a model with an AdapterBackbone.')
    try:
        start_from(new.backbone, base, model.backbone.weights)
    except ValueError as error:
        raise CheckpointError(f"{opened.what} is not for this model's base. {error}") from error
    _load(new, opened)
    new.to(next(model.backbone.parameters()).device)
    share(new.backbone, base, held_of(new))
    return new.eval()


def _check(model: nn.Module) -> None:
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, AdapterBackbone):
        raise ValueError(f'{type(model).__name__} has no AdapterBackbone to lend the base of.')
    if model.merged or backbone.merged:
        raise ValueError(
            'This model is merged: its base has adapters inside. Load sets before it is merged, or '
            'call unmerge_adapters().'
        )
    if number_type(backbone) != torch.float32:
        raise ValueError(
            f'This model is in {number_type(backbone)}, in which its base is rounded. Load sets in '
            'float32, and cast the model then: all its sets are cast.'
        )


def _load(new: nn.Module, opened: Opened) -> None:
    """Load a set, and compare its base with the one that ``new`` stands on."""
    saved, what = opened.saved, opened.what
    state = saved.get('state_dict', saved)
    state = predicting(state, new) if opened.alone else dict(state)
    bases = (saved.get('meta') or {}).get('base') or {}
    own = new.state_dict()
    frozen = frozen_state_keys(new)
    if frozen - set(state):
        held = frozen & set(state)
        check_base(new, bases, what, held)
        if not bases:
            raise CheckpointError(f'{what} does not say which base it is for.')
    else:
        # the file has its base inside
        held = set()
        other = [key for key in sorted(frozen) if not torch.equal(state[key], own[key])]
        if other:
            raise CheckpointError(
                f"{what} has another base inside than the model's: {len(other)} entries differ, "
                f'such as {other[0]}. Adapters mean nothing on other frozen weights.'
            )
    note_held(new, held)
    load_weights(new, state, saved, what)
    new.loaded = dict(base=bases, held=held)
    new.cfg = opened.cfg
