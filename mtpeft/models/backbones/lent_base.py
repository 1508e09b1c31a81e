"""One frozen base in memory below several backbones, each with adapters of its own."""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn

from mtpeft.models.backbones.adapter_backbone import AdapterBackbone
from mtpeft.models.backbones.plain_copy import plain_copy


def base_tensors(backbone: AdapterBackbone) -> dict[str, Tensor]:
    """The base below a backbone, by key: its frozen tensors, and what was trained as it was before.

    With tables that follow from the architecture (positions in windows), which no state dict has.

    Raises:
        ValueError: some of the network was trained, and what it was before is not known.
    """
    own = dict(tensors_of(backbone))
    frozen = backbone.frozen_state_keys()
    known = {**{key: own[key] for key in frozen}, **(backbone.start or {})}
    lost = [key for key in backbone.network_keys() if key not in known]
    if lost:
        raise ValueError(
            f'What {len(lost)} entries of the base were before they were trained is not known '
            f'(such as {lost[0]}): the whole network was trained, or a file held it as it is now. '
            'Load the model of a file without its base.'
        )
    return {**{key: own[key] for key in _tables(backbone)}, **known}


def start_from(backbone: AdapterBackbone, base: Mapping[str, Tensor], weights: str) -> None:
    """Give a new backbone copies of a base, as ``init_weights`` gives it pretrained weights.

    Raises:
        ValueError: the networks differ.
    """
    own = dict(tensors_of(backbone))
    keys = backbone.network_keys()
    wrong = [
        f'{key}: {tuple(own[key].shape)}, and {_shape(base.get(key))} in the base'
        for key in sorted(keys)
        if key not in base or base[key].shape != own[key].shape
    ]
    if wrong:
        raise ValueError(f'The networks differ, in {len(wrong)} entries such as {wrong[0]}.')
    with torch.no_grad():
        for key in keys:
            own[key].copy_(base[key])
    backbone.is_on_base(weights)


def share(
    backbone: AdapterBackbone, base: Mapping[str, Tensor], without: Collection[str] = ()
) -> None:
    """Put the tensors of a base, which are equal, in the place of a backbone's frozen ones.

    Args:
        backbone: The backbone.
        base: Of :func:`base_tensors`.
        without: Keys of what is frozen now, and was trained.
    """
    own = dict(tensors_of(backbone))
    tables = {k for k in _tables(backbone) if k in base and torch.equal(own[k], base[k])}
    for key in tables | backbone.frozen_state_keys().difference(without):
        path, _, leaf = key.rpartition('.')
        owner = backbone.get_submodule(path)
        table = owner._parameters if leaf in owner._parameters else owner._buffers
        old, new = table[leaf], base[key]
        # (what was trained of the network lies where it was before the model was moved)
        if (old.device, old.dtype) == (new.device, new.dtype):
            table[leaf] = _like(old, new)


def plain_backbone(backbone: AdapterBackbone, tap: str) -> AdapterBackbone:
    """The frozen network below a backbone, without its adapters and what else was trained.

    Args:
        backbone: The backbone.
        tap: Where levels are taken.

    Raises:
        ValueError: see :func:`base_tensors`.
    """
    base = base_tensors(backbone)
    if backbone.weights == 'given' and 'pretrained' not in backbone.base_cfg:
        return _plain_copy(backbone, tap)
    plain = AdapterBackbone(backbone.base_cfg, tap=tap)
    number = next(tensor for tensor in base.values() if tensor.is_floating_point())
    plain.to(number.device, number.dtype)
    start_from(plain, base, backbone.weights)
    share(plain, base)
    return plain.eval()


def _plain_copy(backbone: AdapterBackbone, tap: str) -> AdapterBackbone:
    """Of a network that was given, new modules with the same tensors."""
    network = plain_copy(backbone.network)
    for key, tensor in (backbone.start or {}).items():
        path, _, leaf = key.removeprefix('network.').rpartition('.')
        owner = network.get_submodule(path)
        table = owner._parameters if leaf in owner._parameters else owner._buffers
        device = table[leaf].device
        table[leaf] = _like(table[leaf], tensor.to(device))
    return AdapterBackbone(network, tap=tap).eval()


def _tables(backbone: AdapterBackbone) -> set[str]:
    """Buffers of the network that no state dict has."""
    beside = tuple(f'network.{name}.adapter.' for name in backbone.adapted)
    names = {n for n, _ in backbone.named_buffers() if n.startswith('network.')}
    return {n for n in names - backbone.network_keys() if not n.startswith(beside)}


def tensors_of(backbone: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers themselves, by key."""
    yield from backbone.named_parameters(remove_duplicate=False)
    yield from backbone.named_buffers(remove_duplicate=False)


def _like(old: Tensor, new: Tensor) -> Tensor:
    if isinstance(old, nn.Parameter) and not isinstance(new, nn.Parameter):
        return nn.Parameter(new, requires_grad=False)
    return new.detach() if isinstance(new, nn.Parameter) and new.requires_grad else new


def _shape(tensor: Tensor | None) -> str:
    return 'nothing' if tensor is None else str(tuple(tensor.shape))
