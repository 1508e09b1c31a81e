"""Swap adapters into a network by pattern."""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from mtpeft.adapters.layers import AdapterLayer, AdapterModule, adapter_class
from mtpeft.registry import ADAPTERS
from mtpeft.utils.suggest import hint

_OPTIONS = ('cfg', 'targets', 'exclude', 'lanes')
_LANES = ('shared', 'task')


def adapt_layer(layer: nn.Module, cfg: Mapping, tasks: Sequence[str] = ()) -> AdapterLayer:
    """A layer that adopts ``layer``'s state and has the adapter of ``cfg`` beside it.

    Raises:
        TypeError: the layer cannot be adapted.
        ValueError: an option of the adapter does not fit the layer.
    """
    if isinstance(layer, AdapterLayer):
        raise TypeError(f'it is adapted already ({type(layer.adapter).__name__})')
    host = adapter_class(layer)
    # (a Sequential would call the adapter as one of its own)
    single = isinstance(layer, (nn.Conv2d, nn.Sequential))
    beside = host is None and stands_beside(cfg) and not single
    if host is None and not beside:
        grouped = isinstance(layer, nn.Conv2d) and layer.groups > 1
        why = f'a convolution with {layer.groups} groups' if grouped else f'{type(layer).__name__}'
        raise TypeError(f'expected a Linear layer or a Conv2d with groups=1, got {why}')
    adapter = ADAPTERS.build({**cfg, 'layer': layer, 'tasks': tuple(tasks)})
    new = AdapterModule.of(layer) if beside else host.adopt(layer)
    new.adapter = adapter.train(layer.training)
    return new


def stands_beside(cfg: Mapping) -> bool:
    """Can the adapter of ``cfg`` stand beside a module with layers inside?"""
    kind = cfg.get('type')
    kind = ADAPTERS.get(kind) if isinstance(kind, str) else kind
    return getattr(kind, 'beside_modules', False)


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
    plugins: Sequence[Mapping],
    roles: Mapping[str, str] | None = None,
    tasks: Sequence[str] = (),
    lane_blocks: Sequence[str] = (),
    prefixes: Sequence[str] | None = None,
    blocks: Sequence[str] = (),
) -> list[str]:
    """Swap adapters into ``network``, in place.

    Args:
        network: The network.
        plugins: Each ``dict(cfg=<adapter>, targets=[...], lanes='shared'|'task', exclude=[...])``.
            ``lanes='task'`` adds task parameters to targets inside ``lane_blocks``.
        roles: Role -> regular expression for the end of a module's name.
        tasks: Names of the lanes.
        lane_blocks: Dotted names of the blocks that have lanes.
        prefixes: Only modules below one of these names are adapted. ``None``: all.
        blocks: Dotted names of all blocks, for modules that adapters share.

    Returns:
        Names of the adapted layers.

    Raises:
        ValueError: a target hits nothing (the nearest layers are named), a plugin's options are
            wrong, or an adapter's option does not fit a layer (which one).
        TypeError: a target is no layer that can be adapted.
    """
    adapted = []
    for plugin in plugins:
        _check_plugin(plugin, tasks)
        modules = {
            n: m
            for n, m in network.named_modules()
            if n and '.adapter.' not in f'.{n}.' and _below(n, prefixes)
        }
        lanes = plugin.get('lanes', 'shared')
        for name in _resolve(modules, plugin, roles or {}):
            in_lane = any(f'{name}.'.startswith(f'{block}.') for block in lane_blocks)
            own = tasks if lanes == 'task' and in_lane else ()
            if not own and _stands_beside(modules[name], plugin):
                continue  # beside a module there are lanes and nothing for the shared stream
            try:
                new = adapt_layer(modules[name], _at(modules[name], name, plugin, blocks), own)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"Cannot adapt layer '{name}' with {plugin['cfg'].get('type')}: {error}."
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


def _check_plugin(plugin: Mapping, tasks: Sequence[str]) -> None:
    for key in plugin:
        if key not in _OPTIONS:
            raise ValueError(f"A plugin has no option '{key}'. " + hint(key, _OPTIONS))
    for key in ('cfg', 'targets'):
        if key not in plugin:
            raise ValueError(f"A plugin needs '{key}', got {dict(plugin)}.")
    lanes = plugin.get('lanes', 'shared')
    if lanes not in _LANES:
        raise ValueError(f"lanes='{lanes}' is unknown. " + hint(str(lanes), _LANES))
    if lanes == 'task' and not tasks:
        raise ValueError(
            "lanes='task' needs the names of the tasks: set tasks=[...] on the backbone, or use "
            "lanes='shared'."
        )


def _at(layer: nn.Module, name: str, plugin: Mapping, blocks: Sequence[str]) -> Mapping:
    """The adapter's options, with its site where a module is shared across layers."""
    cfg = plugin['cfg']
    if cfg.get('common') is None or adapter_class(layer) is None:
        return cfg
    block = next((b for b in blocks if name.startswith(f'{b}.')), '')
    return {**cfg, 'site': cfg['common'].add_site(layer, name, block)}


def _stands_beside(module: nn.Module, plugin: Mapping) -> bool:
    """Is what the plugin means no layer, but a module that its adapter can stand beside?"""
    layer = isinstance(module, nn.Conv2d) or adapter_class(module) is not None
    return not layer and stands_beside(plugin['cfg'])


def _below(name: str, prefixes: Sequence[str] | None) -> bool:
    return prefixes is None or any(name.startswith(f'{p}.') or name == p for p in prefixes)


def _resolve(modules: Mapping[str, nn.Module], plugin: Mapping, roles: Mapping) -> list[str]:
    targets = plugin['targets']
    if isinstance(targets, str) or not targets:
        raise ValueError(f'expected targets to be a list of at least one name, got {targets!r}')
    found = match_targets(list(modules), targets, roles)
    # A regular expression may sweep over containers; only layers that can be adapted count.
    for target, names in found.items():
        if target.startswith('re:'):
            found[target] = [n for n in names if adapter_class(modules[n]) is not None]
        if not found[target]:
            layers = [n for n, m in modules.items() if isinstance(m, (nn.Linear, nn.Conv2d))]
            suffixes = {'.'.join(n.split('.')[-2:]) for n in layers}
            raise ValueError(
                f"Target '{target}' matches no layer. {hint(target, [*roles, *suffixes])} "
                f'Roles of this backbone: {", ".join(roles) or "none"}.'
            )
    exclude = match_targets(list(modules), plugin.get('exclude', ()), roles)
    left_out = {name for names in exclude.values() for name in names}
    wanted = {name: None for names in found.values() for name in names if name not in left_out}
    if not wanted:
        raise ValueError(f'exclude={plugin["exclude"]} leaves none of the targets {targets}.')
    beside = [name for name in wanted if _stands_beside(modules[name], plugin)]
    if beside and plugin.get('lanes') != 'task':
        raise ValueError(
            f"'{beside[0]}' is no layer: beside it there can be task lanes only. Set "
            "lanes='task', or target layers."
        )
    return list(wanted)
