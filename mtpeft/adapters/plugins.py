"""Plugins: which adapter goes where, as a config writes it and as the injection reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from torch import nn

from mtpeft.adapters.common import CommonModule, SharesAcrossLayers, Site
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import built
from mtpeft.utils.options import options_of
from mtpeft.utils.suggest import hint

_OPTIONS = ('cfg', 'targets', 'exclude', 'lanes')
_LANES = ('shared', 'task')


class _Needed(TypedDict):
    cfg: built('ADAPTERS', 'layer', 'tasks', 'common', 'site', 'clock')
    targets: Sequence[str]


class PluginOptions(_Needed, total=False):
    """A plugin in a config, see :class:`Plugin`."""

    exclude: Sequence[str]
    lanes: Literal['shared', 'task']


#: as a config has them: a list, or a dict of names whose values are taken in their order
Plugins = Mapping[str, PluginOptions | None] | Sequence[PluginOptions]


@dataclass(frozen=True)
class Plugin:
    """One kind of adapter for some layers, read and checked.

    Attributes:
        adapter: The adapter's class.
        options: Its options.
        targets: What it goes to, see :func:`~mtpeft.adapters.inject.match_targets`.
        lanes: ``'task'``: task parameters too, in blocks that have lanes. ``'shared'``: none.
        exclude: What of the targets is left out.
        place: Its number among the plugins that are on.
        key: Where it stands in the config, for errors: ``'plugins[1]'``, ``"plugins['lanes']"``.
    """

    adapter: type[nn.Module]
    options: Mapping[str, Any]
    targets: tuple[str, ...]
    lanes: str = 'shared'
    exclude: tuple[str, ...] = ()
    place: int = 0
    key: str = 'plugins[0]'

    @property
    def stands_beside(self) -> bool:
        """Can the adapter stand beside a module with layers inside?"""
        return getattr(self.adapter, 'beside_modules', False)

    @property
    def shared_option(self) -> str | None:
        """The adapter's option for the module that layers share; ``None`` where they share none,
        or the config has given one."""
        if not issubclass(self.adapter, SharesAcrossLayers):
            return None
        option = self.adapter.common_option
        return None if self.options.get(option) is not None else option

    def make_common(self, tasks: Sequence[str]) -> CommonModule:
        """The module that the adapters of this plugin share, if they are its only users.

        Raises:
            ValueError: an option does not fit.
        """
        lanes = tuple(tasks) if self.lanes == 'task' else ()
        try:
            return self.adapter.make_common(self.options, lanes)
        except ValueError as error:
            raise ValueError(f'{self.key}: {self.adapter.__name__}: {error}') from error

    def options_at(self, site: Site, common: CommonModule | None) -> dict[str, Any]:
        """The adapter's options for a layer at ``site``, with the module that layers share."""
        if not issubclass(self.adapter, SharesAcrossLayers):
            return dict(self.options)
        shared = {self.adapter.common_option: common} if common is not None else {}
        return {**shared, **self.options, 'site': site}


def parse_plugins(plugins: Plugins, tasks: Sequence[str] = ()) -> list[Plugin]:
    """Plugins of a config, read and checked; what is read already is taken as it is.

    Args:
        plugins: Each ``dict(cfg=<adapter>, targets=[...], lanes='shared'|'task', exclude=[...])``,
            in a list or in a dict of names of one's own. There ``None`` switches a plugin off.
        tasks: Names of the lanes.

    Raises:
        ValueError: an option of a plugin is unknown or wrong.
        KeyError: an adapter is not registered.
        TypeError: an adapter has no such option, or a plugin is no dict.

    Example:
        >>> lora = dict(cfg=dict(type='LoRA', rank=4), targets=['qkv'])
        >>> plugins = parse_plugins(dict(shared=lora, lanes=None))
        >>> [(p.key, p.place, p.adapter.__name__, p.options) for p in plugins]
        [("plugins['shared']", 0, 'LoRA', {'rank': 4})]
    """
    return [
        plugin if isinstance(plugin, Plugin) else _parse(plugin, tasks, place, key)
        for place, (key, plugin) in enumerate(plugin_items(plugins).items())
    ]


def plugin_items(plugins: Plugins) -> dict[str, Mapping]:
    """The plugins that are on, in their order, by where they stand in the config.

    Example:
        >>> plugin_items([dict(targets=['qkv'])])
        {'plugins[0]': {'targets': ['qkv']}}
    """
    if isinstance(plugins, Mapping):
        _check_names(plugins)
        return {f'plugins[{name!r}]': p for name, p in plugins.items() if p is not None}
    return {f'plugins[{number}]': plugin for number, plugin in enumerate(plugins)}


def _check_names(plugins: Mapping) -> None:
    numbers = [name for name in plugins if str(name).isdigit()]
    if numbers:
        names = [name for name in plugins if name not in numbers]
        raise ValueError(
            f'plugins[{numbers[0]!r}]: plugins have names here, not numbers: '
            f'{", ".join(map(str, names)) or "none"}.'
        )
    if 'cfg' in plugins and 'targets' in plugins:
        raise ValueError(
            'expected plugins to be a list of plugins, or a dict of them by name, got one plugin; '
            'write plugins=[...] around it.'
        )


def resolve_adapter(cfg: Mapping, key: str = '') -> tuple[type[nn.Module], dict[str, Any]]:
    """Class and options of an adapter's config.

    Args:
        cfg: ``dict(type=..., **options)``.
        key: Where it stands, for errors.

    Raises:
        KeyError: the type is missing or not registered.
        TypeError: the adapter has no such option.
    """
    at = f'{key}: ' if key else ''
    options = {name: value for name, value in cfg.items() if name not in ('type', '_scope_')}
    kind = cfg.get('type')
    adapter = ADAPTERS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(adapter, type):
        raise KeyError(
            f"{at}type='{kind}' is no adapter. "
            + hint(str(kind).split('.')[-1], ADAPTERS.module_dict)
        )
    valid = option_names(adapter)
    for name in options:
        if valid is not None and name not in valid:
            raise TypeError(f"{at}{adapter.__name__} has no option '{name}'. " + hint(name, valid))
    return adapter, options


def option_names(adapter: type) -> list[str] | None:
    """Options of an adapter's class, its parents' where it passes them on; ``None``: unknown.

    Example:
        >>> from mtpeft.adapters import VLAdapter
        >>> option_names(VLAdapter)[:2]
        ['share', 'width']
    """
    options = options_of(adapter)
    if options.open:
        return None
    return [name for name in options.known if name not in ('layer', 'tasks')]


def _parse(plugin: Mapping, tasks: Sequence[str], place: int, key: str) -> Plugin:
    if not isinstance(plugin, Mapping):
        raise TypeError(f'{key}: expected a dict with cfg and targets, got {plugin!r}.')
    for option in plugin:
        if option not in _OPTIONS:
            raise ValueError(f"{key}: a plugin has no option '{option}'. " + hint(option, _OPTIONS))
    for option in ('cfg', 'targets'):
        if option not in plugin:
            raise ValueError(f"{key}: a plugin needs '{option}', got {dict(plugin)}.")
    lanes = plugin.get('lanes', 'shared')
    if lanes not in _LANES:
        raise ValueError(f"{key}: lanes='{lanes}' is unknown. " + hint(str(lanes), _LANES))
    if lanes == 'task' and not tasks:
        raise ValueError(
            f"{key}: lanes='task' needs the names of the tasks: set tasks=[...] on the backbone, "
            "or use lanes='shared'."
        )
    targets = plugin['targets']
    if isinstance(targets, str) or not targets:
        raise ValueError(
            f'{key}: expected targets to be a list of at least one name, got {targets!r}'
        )
    adapter, options = resolve_adapter(plugin['cfg'], key)
    exclude = tuple(plugin.get('exclude', ()))
    return Plugin(adapter, options, tuple(targets), lanes, exclude, place, key)
