"""Modules that all adapters of one plugin share across layers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn


class Site(NamedTuple):
    """Where an adapter stands.

    Attributes:
        name: The layer's name in the network, ``'layers.0.blocks.1.attn.proj'``.
        block: The block's, ``'layers.0.blocks.1'``; ``''`` outside of blocks.
    """

    name: str = ''
    block: str = ''

    @property
    def position(self) -> str:
        """The layer's name within its block, ``'attn.proj'``."""
        return self.name.removeprefix(f'{self.block}.') if self.block else self.name


class CommonModule(nn.Module):
    """What the adapters of one plugin share across layers: factors, or a hypernetwork.

    An adapter class makes one in :meth:`Adapter.make_common
    <mtpeft.adapters.base.Adapter.make_common>`. The backbone owns it (``backbone.commons``), so a
    state dict has it once, and it is trained though the backbone is frozen. Before an adapter is
    built, :meth:`add_site` is told its layer: what depends on shapes or on the number of layers is
    made there.

    Args:
        tasks: Names of the task lanes of the plugin.

    Attributes:
        component: Component of the parameters in reports.
        sites: The layers, in the order of their numbers.

    Example:
        >>> common = CommonModule(['depth'])
        >>> common.add_site(nn.Linear(4, 4), 'blocks.0.fc', 'blocks.0')
        0
        >>> common.sites[0].position
        'fc'
    """

    component = 'common'

    def __init__(self, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.sites: list[Site] = []

    def add_site(self, layer: nn.Module, name: str = '', block: str = '') -> int:
        """Announce an adapted layer; the number its adapter asks with."""
        self.sites.append(Site(name, block))
        return len(self.sites) - 1

    def shared_only(self) -> list[nn.Parameter]:
        """Parameters that nothing but the shared stream reads."""
        return []

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        return {self.component: [name for name, _ in self.named_parameters()]}


def with_common(plugin: Mapping, common: CommonModule | None) -> Mapping:
    """The plugin with the module that its adapters share among their options."""
    if common is None:
        return plugin
    return {**plugin, 'cfg': {**plugin['cfg'], 'common': common}}
