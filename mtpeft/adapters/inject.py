"""Swap adapters into a network by pattern."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from mtpeft.adapters.common import CommonModule, Site
from mtpeft.adapters.layers import AdapterLayer, AdapterModule, adapter_class
from mtpeft.adapters.plugins import Plugin, Plugins, parse_plugins, resolve_adapter
from mtpeft.utils.suggest import hint


def adapt_layer(layer: nn.Module, cfg: Mapping, tasks: Sequence[str] = ()) -> AdapterLayer:
    """A layer that adopts ``layer``'s state and has the adapter of ``cfg`` beside it.

    Raises:
        KeyError: the adapter is not registered.
        TypeError: the layer cannot be adapted, or the adapter has no such option.
        ValueError: an option of the adapter does not fit the layer.
    """
    return _adapt(layer, *resolve_adapter(cfg), tasks)


def _adapt(
    layer: nn.Module, kind: type[nn.Module], options: Mapping, tasks: Sequence[str]
) -> AdapterLayer:  # fmt: skip
    if isinstance(layer, AdapterLayer):
        raise TypeError(f'it is adapted already ({type(layer.adapter).__name__})')
    host = adapter_class(layer)
    # (a Sequential would call the adapter as one of its own)
    single = isinstance(layer, (nn.Conv2d, nn.Sequential))
    beside = host is None and getattr(kind, 'beside_modules', False) and not single
    if host is None and not beside:
        grouped = isinstance(layer, nn.Conv2d) and layer.groups > 1
        why = f'a convolution with {layer.groups} groups' if grouped else f'{type(layer).__name__}'
        raise TypeError(f'expected a Linear layer or a Conv2d with groups=1, got {why}')
    adapter = kind(layer=layer, tasks=tuple(tasks), **options)
    new = AdapterModule.of(layer) if beside else host.adopt(layer)
    new.adapter = adapter.train(layer.training)
    return new


def match_targets(
    names: Sequence[str], targets: Sequence[str], roles: Mapping[str, str]
) -> dict[str, list[str]]:
    """Names of the modules that each target means.

    Args:
        names: Dotted names of modules.
        targets: Roles of the family (``'qkv'``), dotted suffixes (``'attn.qkv'``) or regular
            expressions (``'re:layers.3.*fc1'``, matched against the whole name).
        roles: Role -> regular expression for the end of a name.
    """
    return {target: [n for n in names if _matcher(target, roles)(n)] for target in targets}


def _matcher(target: str, roles: Mapping[str, str]) -> Callable[[str], bool]:
    if target.startswith('re:'):
        pattern = re.compile(target[3:])
        return lambda name: pattern.fullmatch(name) is not None
    suffix = roles.get(target, re.escape(target))
    pattern = re.compile(rf'(?:.*\.)?(?:{suffix})')
    return lambda name: pattern.fullmatch(name) is not None


def inject(
    network: nn.Module,
    plugins: Plugins | Sequence[Plugin],
    roles: Mapping[str, str] | None = None,
    tasks: Sequence[str] = (),
    lane_blocks: Sequence[str] = (),
    prefixes: Sequence[str] | None = None,
    blocks: Sequence[str] = (),
    shared: Mapping[int, CommonModule] | None = None,
) -> list[str]:
    """Swap adapters into ``network``, in place.

    Args:
        network: The network.
        plugins: As a config has them or read, see :func:`~mtpeft.adapters.plugins.parse_plugins`.
            ``lanes='task'`` adds task parameters to targets inside ``lane_blocks``.
        roles: Role -> regular expression for the end of a module's name.
        tasks: Names of the lanes.
        lane_blocks: Dotted names of the blocks that have lanes.
        prefixes: Only modules below one of these names are adapted. ``None``: all.
        blocks: Dotted names of all blocks, for modules that adapters share.
        shared: Modules that adapters share across layers, by the plugin's place.

    Returns:
        Names of the adapted layers.

    Raises:
        ValueError: a target hits nothing (the nearest layers are named), a plugin's options are
            wrong, or an adapter's option does not fit a layer (which one).
        TypeError: a target is no layer that can be adapted.
    """
    adapted = []
    for plugin in parse_plugins(plugins, tasks):
        common = (shared or {}).get(plugin.place)
        modules = {
            n: m
            for n, m in network.named_modules()
            if n and '.adapter.' not in f'.{n}.' and _below(n, prefixes)
        }
        for name in _resolve(modules, plugin, roles or {}):
            in_lane = any(f'{name}.'.startswith(f'{block}.') for block in lane_blocks)
            own = tasks if plugin.lanes == 'task' and in_lane else ()
            if not own and _stands_beside(modules[name], plugin):
                continue  # beside a module there are lanes and nothing for the shared stream
            options = plugin.options_at(Site(name, _block_of(name, blocks)), common)
            try:
                new = _adapt(modules[name], plugin.adapter, options, own)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"{plugin.key}: cannot adapt layer '{name}' with {plugin.adapter.__name__}: "
                    f'{error}.'
                ) from error
            parent, _, attribute = name.rpartition('.')
            setattr(network.get_submodule(parent), attribute, new)
            adapted.append(name)
    _check_nesting(network, adapted)
    return adapted


def _check_nesting(network: nn.Module, adapted: Sequence[str]) -> None:
    """Raise ValueError where a layer with lanes lies in a module with lanes."""
    own = {name: layer for name in adapted if (layer := network.get_submodule(name)).adapter.tasks}
    for name, layer in own.items():
        inside = [n for n in own if n.startswith(f'{name}.')]
        if isinstance(layer, AdapterModule) and inside:
            raise ValueError(
                f"'{name}' has lanes of its own ({type(layer.adapter).__name__}), and so has "
                f"'{inside[0]}' inside it. Give one of the two lanes: lanes='shared' for the "
                'layers inside, or another target.'
            )


def _block_of(name: str, blocks: Sequence[str]) -> str:
    return next((block for block in blocks if name.startswith(f'{block}.')), '')


def _stands_beside(module: nn.Module, plugin: Plugin) -> bool:
    """Is what the plugin means no layer, but a module that its adapter can stand beside?"""
    layer = isinstance(module, nn.Conv2d) or adapter_class(module) is not None
    return not layer and plugin.stands_beside


def _below(name: str, prefixes: Sequence[str] | None) -> bool:
    return prefixes is None or any(name.startswith(f'{p}.') or name == p for p in prefixes)


def _resolve(modules: Mapping[str, nn.Module], plugin: Plugin, roles: Mapping) -> list[str]:
    found = match_targets(list(modules), plugin.targets, roles)
    # A regular expression may sweep over containers; only layers that can be adapted count.
    for target, names in found.items():
        if target.startswith('re:'):
            found[target] = [n for n in names if adapter_class(modules[n]) is not None]
        if not found[target]:
            layers = [n for n, m in modules.items() if isinstance(m, (nn.Linear, nn.Conv2d))]
            suffixes = {'.'.join(n.split('.')[-2:]) for n in layers}
            raise ValueError(
                f"{plugin.key}: target '{target}' matches no layer. "
                f'{hint(target, [*roles, *suffixes])} '
                f'Roles of this backbone: {", ".join(roles) or "none"}.'
            )
    exclude = match_targets(list(modules), plugin.exclude, roles)
    left_out = {name for names in exclude.values() for name in names}
    wanted = {name: None for names in found.values() for name in names if name not in left_out}
    if not wanted:
        raise ValueError(
            f'{plugin.key}: exclude={list(plugin.exclude)} leaves none of the targets '
            f'{list(plugin.targets)}.'
        )
    beside = [name for name in wanted if _stands_beside(modules[name], plugin)]
    if beside and plugin.lanes != 'task':
        raise ValueError(
            f"{plugin.key}: '{beside[0]}' is no layer: beside it there can be task lanes only. Set "
            "lanes='task', or target layers."
        )
    return list(wanted)
