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
    """What adapters share across layers: factors, a hypernetwork, or the frequencies of tasks.

    An adapter class makes one in :meth:`SharesAcrossLayers.make_common`. The backbone owns it
    (``backbone.commons``, or ``backbone.clock``), so a state dict has it once, and it is trained
    though the backbone is frozen. An adapter that joins tells :meth:`add_site` its layer: what
    depends on shapes or on the number of layers is made there.

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

    Attributes:
        common_option: The constructor's option by which the module comes. ``'clock'``: it is the
            :class:`~mtpeft.adapters.ClockNet` of the backbone, one for all plugins.
        own_name: What a module of its own is called in a state dict.

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

    common_option = 'common'
    own_name = 'own_common'

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> CommonModule:
        """The module that all adapters of one plugin share.

        Args:
            cfg: The plugin's options for the adapter, without ``type``.
            tasks: Names of the lanes.
        """
        raise NotImplementedError

    def join(
        self, layer: nn.Module, common: CommonModule | None, site: Site | None, cfg: Mapping
    ) -> None:
        """Take a place at ``common``, or, alone, at a module of its own made of ``cfg``.

        Args:
            layer: The adapted layer.
            common: The module; ``None``: one of its own.
            site: Where the layer is in the network, if it is in one.
            cfg: Options of the adapter that :meth:`make_common` reads.
        """
        if common is None:
            # alone: the module is this adapter's, in its state dict and among its components
            common = self.make_common(cfg, self.tasks)
            setattr(self, self.own_name, common)
        self._common = [common]  # in a list: the module of a backbone is not this one's
        self.site = common.add_site(layer, *(site or Site()))
        self.name_own_common()

    def name_own_common(self) -> None:
        """Name the parameters of a module of its own, again where :meth:`join` was not the last."""
        name = self.own_name
        if hasattr(self, name):
            parts = getattr(self, name).parameter_components().items()
            own = {part: [f'{name}.{one}' for one in names] for part, names in parts}
            self.base_parameters = {**self.base_parameters, **own}

    @property
    def common(self) -> CommonModule:
        """What the adapters of this one's plugin share."""
        return self._common[0]
