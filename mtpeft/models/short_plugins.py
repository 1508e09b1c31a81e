"""Plugins in few words, for networks of one's own."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from mtpeft.adapters.layers import adapter_class
from mtpeft.adapters.plugins import Plugins
from mtpeft.models.backbones.families import FAMILIES
from mtpeft.registry import ADAPTERS
from mtpeft.utils.suggest import hint

#: roles that adapters go to where nothing else is said, of networks whose family is known
_ROLES = ('qkv', 'proj', 'fc1', 'fc2', 'expand', 'project', 'conv1', 'conv2', 'conv3')
_OF_PLUGIN = ('targets', 'exclude', 'lanes')

Short = str | Mapping[str, Any] | Plugins


def full_plugins(plugins: Short, network: nn.Module, tasks: Sequence[str] = ()) -> list[dict]:
    """Plugins as configs have them, of a shorter form.

    Args:
        plugins: ``'lora'``; ``dict(type='LoRA', rank=8, targets=[...])``, whose options beside
            ``targets``, ``exclude`` and ``lanes`` are the adapter's; a list of such; or plugins of
            a config, which are taken as they are.
        network: The network.
        tasks: Names of tasks. With them, ``lanes`` is ``'task'`` where a plugin does not say it.

    Raises:
        KeyError: an adapter is not registered; the nearest names are given.
        ValueError: the network has no layer to adapt.

    Example:
        >>> full_plugins('lora', nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
        [{'cfg': {'type': 'LoRA'}, 'targets': ['re:0', 're:2'], 'lanes': 'shared'}]
    """
    if isinstance(plugins, Mapping) and 'type' not in plugins:
        return [dict(plugin) for plugin in plugins.values() if plugin is not None]
    given = [plugins] if isinstance(plugins, str | Mapping) else list(plugins)
    return [_full(plugin, network, tasks) for plugin in given]


def _full(plugin: str | Mapping, network: nn.Module, tasks: Sequence[str]) -> dict[str, Any]:
    if isinstance(plugin, Mapping) and 'cfg' in plugin:
        return dict(plugin)
    options = dict(type=plugin) if isinstance(plugin, str) else dict(plugin)
    own = {name: options.pop(name) for name in _OF_PLUGIN if name in options}
    if isinstance(options.get('type'), str):
        options['type'] = _named(options['type'])
    own.setdefault('targets', None)
    targets = own['targets'] or default_targets(network)
    lanes = own.pop('lanes', 'task' if tasks else 'shared')
    return {'cfg': options, **own, 'targets': list(targets), 'lanes': lanes}


def _named(name: str) -> str:
    """The registered name of an adapter, whose case does not matter."""
    ADAPTERS.import_from_location()
    known = {own.lower(): own for own in ADAPTERS.module_dict}
    found = known.get(name.lower())
    if found is None:
        raise KeyError(f"'{name}' is no adapter. {hint(name, ADAPTERS.module_dict)}")
    return found


def roles_of(network: nn.Module) -> dict[str, str]:
    """Roles of the layers of a network, as a table of its family has them; none without."""
    return next((f.roles for f in FAMILIES if f.serves(network)), {})


def groups_of(network: nn.Module) -> dict[str, str]:
    """Groups of parameters of a network, as a table of its family has them; none without."""
    return next((f.groups for f in FAMILIES if f.serves(network)), {})


def default_targets(network: nn.Module) -> list[str]:
    """Layers that adapters go to where nothing else is said.

    Of known families attention and MLP. Else all Linear layers but a classifier, or where there are
    none, all convolutions.

    Raises:
        ValueError: there is no layer that can be adapted.
    """
    roles = [role for role in _ROLES if role in roles_of(network)]
    if roles:
        return roles
    layers = list(_adaptable(network))
    linear = [name for name, layer in layers if isinstance(layer, nn.Linear)]
    names = linear or [name for name, _ in layers]
    if not names:
        raise ValueError(
            f'{type(network).__name__} has no Linear layer and no convolution that can be adapted. '
            'Name layers: targets=[...].'
        )
    return [f're:{re.escape(name)}' for name in names]


def classifier_of(network: nn.Module) -> list[str]:
    """Names of the last layers of a timm network, which make classes; none of others."""
    known = getattr(network, 'pretrained_cfg', None) or {}
    names = known.get('classifier') or ()
    names = [names] if isinstance(names, str) else list(names)
    modules = dict(network.named_modules())
    return [name for name in names if isinstance(modules.get(name), nn.Linear | nn.Conv2d)]


def _adaptable(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    last = set(classifier_of(network))
    for name, layer in network.named_modules():
        if name and name not in last and adapter_class(layer) and not only_read(network, name):
            yield name, layer


def only_read(network: nn.Module, name: str) -> bool:
    """Is a layer never called, since torch's attention reads its weight alone?"""
    owner = network.get_submodule(name.rpartition('.')[0])
    return isinstance(owner, nn.MultiheadAttention)
