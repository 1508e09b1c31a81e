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

    An adapter class makes one in :meth:`SharesAcrossLayers.make_common`. The backbone owns it
    (``backbone.commons``), so a state dict has it once, and it is trained though the backbone is
    frozen. Before an adapter is built, :meth:`add_site` is told its layer: what depends on shapes
    or on the number of layers is made there.

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


class SharesAcrossLayers:
    """Mixin of adapters that have something in common with those of other layers.

    A class of this kind has the options ``common`` and ``site``, and calls :meth:`join` in its
    constructor. With a backbone all adapters of one plugin get the same module; alone an adapter
    has one of its own.

    Example:
        >>> import torch
        >>> from mtpeft.adapters import Adapter
        >>> class Gain(CommonModule):
        ...     def __init__(self, tasks=()):
        ...         super().__init__(tasks)
        ...         self.gain = nn.Parameter(torch.ones(()))
        >>> class Scaled(SharesAcrossLayers, Adapter):
        ...     def __init__(self, layer, tasks=(), common=None, site=None):
        ...         super().__init__(layer, tasks)
        ...         self.join(layer, common, site, {})
        ...     @classmethod
        ...     def make_common(cls, cfg, tasks):
        ...         return Gain(tasks)
        >>> list(Scaled(nn.Linear(4, 4)).state_dict())
        ['own_common.gain']
    """

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> CommonModule:
        """The module that all adapters of one plugin share.

        Args:
            cfg: The plugin's options for the adapter, without ``type``.
            tasks: Names of the lanes.
        """
        raise NotImplementedError

    def join(
        self, layer: nn.Module, common: CommonModule | None, site: int | None, cfg: Mapping
    ) -> None:
        """Take a place at ``common``, or, alone, at a module of its own made of ``cfg``."""
        if common is None:
            # alone: the module is this adapter's, in its state dict and among its components
            self.own_common = common = self.make_common(cfg, self.tasks)
            site = common.add_site(layer)
        self._common = [common]  # in a list: the module of a backbone is not this one's
        self.site = common.add_site(layer) if site is None else site
        self.name_own_common()

    def name_own_common(self) -> None:
        """Name the parameters of a module of its own, again where :meth:`join` was not the last."""
        if hasattr(self, 'own_common'):
            parts = self.own_common.parameter_components().items()
            own = {part: [f'own_common.{name}' for name in names] for part, names in parts}
            self.base_parameters = {**self.base_parameters, **own}

    @property
    def common(self) -> CommonModule:
        """What the adapters of this one's plugin share."""
        return self._common[0]


def with_common(plugin: Mapping, common: CommonModule | None) -> Mapping:
    """The plugin with the module that its adapters share among their options."""
    if common is None:
        return plugin
    return {**plugin, 'cfg': {**plugin['cfg'], 'common': common}}
