"""Adapters of a backbone: where they go, and what they share."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import nn

from mtpeft.adapters import (
    AdapterLayer,
    AdapterLinear,
    AdapterModule,
    ClockNet,
    CommonModule,
    inject,
)
from mtpeft.adapters.lanes.on_map import needs_map
from mtpeft.adapters.plugins import Plugin, Plugins, parse_plugins
from mtpeft.models.backbones.clocks import CLOCK, make_clock
from mtpeft.models.backbones.families import FAMILIES, Family, GenericFamily
from mtpeft.models.backbones.families.base import ends_with, measure
from mtpeft.models.backbones.families.picture_size import built_for


class Adapted(NamedTuple):
    """What an adapted network has besides itself.

    Attributes:
        clock: The ClockNet of its adapters, ``None`` without.
        commons: Modules that the adapters of one plugin share, by the plugin's place.
        names: The adapted layers.
    """

    clock: ClockNet | None
    commons: nn.ModuleDict
    names: list[str]


def adapt_network(
    network: nn.Module,
    family: Family,
    plugins: Plugins,
    tasks: Sequence[str],
    lane_places: Sequence[str],
    clock: Mapping | None = None,
    freeze: bool = True,
    **options: bool,
) -> Adapted:
    """Swap the adapters of ``plugins`` into ``network``, with what they share.

    Args:
        network: The network.
        family: What is known of it.
        plugins: As of :func:`~mtpeft.adapters.plugins.parse_plugins`.
        tasks: Names of the lanes.
        lane_places: Dotted names of what can have lanes.
        clock: Config of the ClockNet; a default one where a plugin needs it.
        freeze: The adapted weights are not trained.
        **options: Others of :func:`inject_adapters`.
    """
    plugins = parse_plugins(plugins, tasks)
    clock = make_clock(clock, plugins, tasks, family)
    commons = make_commons(plugins, tasks)
    shared = shared_modules(plugins, commons, clock)
    names = inject_adapters(
        network, family, plugins, tasks, lane_places, shared=shared, freeze=freeze, **options
    )
    tell_linear_layers(network, family, names)
    return Adapted(clock, commons, names)


def make_commons(plugins: Sequence[Plugin], tasks: Sequence[str]) -> nn.ModuleDict:
    """What the adapters of each plugin share across layers, by the plugin's place.

    The clock is not among them: it is one for all plugins.
    """
    own = [plugin for plugin in plugins if plugin.shared_option not in (None, CLOCK)]
    return nn.ModuleDict({str(plugin.place): plugin.make_common(tasks) for plugin in own})


def shared_modules(
    plugins: Sequence[Plugin], commons: nn.ModuleDict, clock: ClockNet | None
) -> dict[int, CommonModule]:
    """What the adapters of each plugin get as the module that layers share, by its place."""
    of_place = {int(place): common for place, common in commons.items()}
    ticking = [p.place for p in plugins if p.shared_option == CLOCK] if clock is not None else []
    return {**of_place, **dict.fromkeys(ticking, clock)}


def inject_adapters(
    network: nn.Module,
    family: Family,
    plugins: Sequence[Plugin],
    tasks: Sequence[str],
    lane_places: Sequence[str],
    *,
    shared: Mapping[int, CommonModule],
    freeze: bool = True,
    lanes_alone: bool = False,
    maps_everywhere: bool = False,
) -> list[str]:
    """Swap adapters into ``network``; the names of the adapted layers.

    Args:
        network: The network.
        family: What is known of it.
        plugins: What goes where.
        tasks: Names of the lanes.
        lane_places: Dotted names of what can have lanes.
        shared: Modules that layers share, see :func:`shared_modules`.
        freeze: The adapted weights are not trained.
        lanes_alone: No shared stream passes a layer that has lanes.
        maps_everywhere: Lanes get their map wherever they are.

    Raises:
        ValueError: a plugin asks for lanes where the network has none, or see
            :func:`~mtpeft.adapters.inject.inject`.
    """
    generic = isinstance(family, GenericFamily)
    if generic:
        _refuse_lanes(network, plugins)
    blocks = [name for stage in family.stages for name in stage.blocks]
    adapted = inject(
        network,
        plugins,
        roles={**family.roles, **_block_role(blocks)},
        tasks=tasks,
        lane_blocks=lane_places,
        prefixes=None if generic else [*blocks, *(s.merge for s in family.stages if s.merge)],
        blocks=blocks,
        shared=shared,
    )
    for name in adapted:
        layer = network.get_submodule(name)
        if isinstance(layer, AdapterModule):
            layer.channels_last = family.layout == 'NHWC'
            if not family.blocks_see_map and needs_map(layer.adapter):
                raise ValueError(
                    f"Cannot put {type(layer.adapter).__name__} beside '{name}': what convolves "
                    'there needs tokens in the order of the picture, and those of '
                    f'{type(network).__name__} have another.'
                )
        else:
            layer.weight.requires_grad_(not freeze)
            if not maps_everywhere:
                _check_map(network, family, name, layer)
        if lanes_alone and layer.adapter.tasks:
            _without_shared(name, layer)
    if generic and adapted:
        _check_called(network, family, adapted)
    return adapted


def tell_linear_layers(network: nn.Module, family: Family, adapted: Iterable[str]) -> None:
    """Tell adapted Linear layers of a known family which outputs nobody changes in place."""
    known = not isinstance(family, GenericFamily)
    for name in adapted:
        layer = network.get_submodule(name)
        if isinstance(layer, AdapterLinear):
            layer.output_stays = known and not ends_with(name, family.modified_in_place)


def _refuse_lanes(network: nn.Module, plugins: Sequence[Plugin]) -> None:
    asking = next((plugin for plugin in plugins if plugin.lanes == 'task'), None)
    if asking is not None:
        raise ValueError(
            f"{asking.key}: lanes='task' needs to know the blocks of a backbone, and "
            f'{type(network).__name__} has no family table; it can have shared adapters '
            f'(lanes="shared"). Families with lanes: {", ".join(f.name for f in FAMILIES)}.'
        )


def _check_called(network: nn.Module, family: GenericFamily, adapted: Sequence[str]) -> None:
    """Refuse layers that no level comes through: behind the levels, or of which only the weight
    is read (torch's ``MultiheadAttention``)."""
    seen: set[str] = set()
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.add(name))
        for name in adapted
    ]
    try:
        measure(network, family.features, built_for(network))
    finally:
        for hook in hooks:
            hook.remove()
    idle = [name for name in adapted if name not in seen]
    if idle:
        raise ValueError(
            f'Adapters of {", ".join(idle[:4])}{" and more" if idle[4:] else ""} would have no '
            f'effect: {type(network).__name__} makes its levels without calling these layers. '
            'Name others, or leave them out (exclude=[...]).'
        )


def _block_role(blocks: Sequence[str]) -> dict[str, str]:
    """The role of whole blocks, for adapters that stand beside a module."""
    return {'block': '|'.join(map(re.escape, blocks))} if blocks else {}


def _without_shared(name: str, layer: AdapterLayer) -> None:
    try:
        layer.adapter.without_shared()
    except ValueError as error:
        raise ValueError(f"Cannot adapt layer '{name}': {error}.") from error


def _check_map(network: nn.Module, family: Family, name: str, layer: AdapterLayer) -> None:
    """Raise ValueError where lanes need a map and their layer sees none."""
    ending = family.on_map
    if not needs_map(layer.adapter) or ends_with(name, ending):
        return
    names = [n for n, _ in network.named_modules() if ends_with(n, ending)]
    on_map = [role for role, end in family.roles.items() if any(ends_with(n, end) for n in names)]
    raise ValueError(
        f"Cannot adapt layer '{name}' with {type(layer.adapter).__name__}: a kernel needs the "
        f'map, and this layer sees tokens of windows or none. Layers of '
        f'{type(network).__name__} that see one: {", ".join(on_map) or "none"}; '
        f'{layer.adapter.without_map} serves all.'
    )
