"""Adapters of a backbone: where they go, and what they share."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import nn

from mtpeft.adapters import Adapter, AdapterLayer, AdapterModule, inject
from mtpeft.adapters.common import with_common
from mtpeft.models.backbones.clocks import with_clock
from mtpeft.models.backbones.families import FAMILIES, GenericFamily
from mtpeft.models.backbones.streams.network import lane_places
from mtpeft.registry import ADAPTERS

if TYPE_CHECKING:
    from mtpeft.models.backbones.adapter_backbone import AdapterBackbone


def make_commons(plugins: Sequence[Mapping], tasks: Sequence[str]) -> nn.ModuleDict:
    """What the adapters of each plugin share across layers, by the plugin's place in the list."""
    commons = nn.ModuleDict()
    for index, plugin in enumerate(plugins):
        cfg = dict(plugin.get('cfg', {}))
        kind = cfg.pop('type', None)
        kind = ADAPTERS.get(kind) if isinstance(kind, str) else kind
        make = getattr(kind, 'make_common', None)
        if make is None or cfg.get('common') is not None:
            continue
        common = make(cfg, tuple(tasks) if plugin.get('lanes') == 'task' else ())
        if common is not None:
            commons[str(index)] = common
    return commons


def inject_adapters(backbone: 'AdapterBackbone', plugins: Sequence[Mapping]) -> list[str]:
    """Swap adapters into the network of ``backbone``; the names of the adapted layers.

    Raises:
        ValueError: a plugin asks for lanes where the backbone has none, or see
            :func:`~mtpeft.adapters.inject.inject`.
    """
    network, family, clock = backbone.network, backbone.family, backbone.clock
    generic = isinstance(family, GenericFamily)
    if generic and any(p.get('lanes') == 'task' for p in plugins):
        raise ValueError(
            f"lanes='task' needs to know the blocks of a backbone, and "
            f'{type(network).__name__} has no family table; it can have shared adapters '
            f'(lanes="shared"). Families with lanes: {", ".join(f.name for f in FAMILIES)}.'
        )
    blocks = [name for stage in family.stages for name in stage.blocks]
    commons = [backbone.commons[key] if (key := str(i)) in backbone.commons else None
               for i in range(len(plugins))]  # fmt: skip
    adapted = inject(
        network,
        [with_common(with_clock(p, clock), c) for p, c in zip(plugins, commons, strict=True)],
        roles={**family.roles, **_block_role(blocks)},
        tasks=backbone.tasks,
        lane_blocks=lane_places(family, backbone.streams),
        prefixes=None if generic else [*blocks, *(s.merge for s in family.stages if s.merge)],
        blocks=blocks,
    )
    for name in adapted:
        layer = network.get_submodule(name)
        if isinstance(layer, AdapterModule):
            layer.channels_last = family.layout == 'NHWC'
        else:
            layer.weight.requires_grad_(not backbone.freeze)
        _check_map(backbone, name, layer)
        if backbone.streams == 'network' and layer.adapter.tasks:
            _without_shared(name, layer)
        if getattr(layer.adapter, 'clock', None) is not None:
            clock.sites[layer.adapter.site] = name
    return adapted


def _block_role(blocks: Sequence[str]) -> dict[str, str]:
    """The role of whole blocks, for adapters that stand beside a module."""
    return {'block': '|'.join(map(re.escape, blocks))} if blocks else {}


def unread_in_commons(
    backbone: 'AdapterBackbone', unread: Sequence[Adapter]
) -> list[nn.Parameter]:  # fmt: skip
    """What only the shared stream reads in a module all of whose adapters are ``unread`` there."""
    read = [la.adapter for la in backbone.adapter_layers().values() if la.adapter not in unread]
    kept = [adapter.common for adapter in read if hasattr(adapter, '_common')]
    return [p for c in backbone.commons.values() if c not in kept for p in c.shared_only()]


def _without_shared(name: str, layer: AdapterLayer) -> None:
    try:
        layer.adapter.without_shared()
    except ValueError as error:
        raise ValueError(f"Cannot adapt layer '{name}': {error}.") from error


def _check_map(backbone: 'AdapterBackbone', name: str, layer: AdapterLayer) -> None:
    if isinstance(layer, AdapterModule):  # the rows of a whole map pass MLPs and blocks
        return
    ending = backbone.family.on_map
    if backbone.gives_maps or not layer.adapter.needs_map or ends_with(name, ending):
        return
    names = [n for n, _ in backbone.network.named_modules() if ends_with(n, ending)]
    roles = backbone.family.roles.items()
    on_map = [role for role, end in roles if any(ends_with(n, end) for n in names)]
    raise ValueError(
        f"Cannot adapt layer '{name}' with {type(layer.adapter).__name__}: a kernel needs the "
        f'map, and this layer sees tokens of windows or none. Layers of '
        f'{type(backbone.network).__name__} that see one: {", ".join(on_map) or "none"}; '
        f'{layer.adapter.without_map} serves all.'
    )


def ends_with(name: str, ending: str | None) -> bool:
    """Is ``ending`` (a regular expression) the end of a dotted name?"""
    return ending is not None and re.fullmatch(rf'(?:.*\.)?(?:{ending})', name) is not None
