"""What is common to the ways of a picture through a backbone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mtpeft.adapters import Adapter, AdapterLayer, AdapterModule
from mtpeft.adapters.lanes.block import LaneBlock
from mtpeft.adapters.lanes.current import of_this_pass
from mtpeft.models.backbones.families import Family, Stage
from mtpeft.models.backbones.families.base import ends_with
from mtpeft.models.backbones.families.swin_parts import BehindAttention
from mtpeft.utils.suggest import hint


class Streams:
    """How the streams of a picture pass a network.

    Args:
        network: The network, its adapters swapped in.
        family: Its table.
        tasks: Names of the tasks.
        tap: Where a level is taken, see :class:`~mtpeft.models.backbones.AdapterBackbone`.
        strategy: How a block with lanes runs; one of :attr:`strategies`.
        tokens: What takes task tokens or prompts through the network, ``None`` without.
        with_cp: Recompute each block in the backward pass to save memory.

    Attributes:
        lanes: Blocks (and mergings) with task parameters, by name.
    """

    #: its name in the option ``streams``
    option = ''
    #: valid strategies, the default first
    strategies: tuple[str, ...] = ()
    #: every layer is passed by a shared stream
    shares = True

    def __init__(
        self,
        network: nn.Module,
        family: Family,
        tasks: Sequence[str],
        tap: str,
        strategy: str | None = None,
        tokens: nn.Module | None = None,
        with_cp: bool = False,
    ) -> None:
        self.network = network
        self.family = family
        self.tasks = tuple(tasks)
        self.tap = tap
        self.tokens = tokens
        self._with_cp = False
        self.with_cp = with_cp
        self.lanes = self.make_lanes(self.strategy(strategy))

    @property
    def with_cp(self) -> bool:
        """Is each block computed again in the backward pass?

        Raises:
            ValueError: set to True, and the network is one of those that cannot.
        """
        return self._with_cp

    @with_cp.setter
    def with_cp(self, value: bool) -> None:
        if value != self._with_cp:
            self.family.recompute(self.network, value)
        self._with_cp = value

    @classmethod
    def strategy(cls, name: str | None) -> str:
        """The strategy asked for, or the default.

        Raises:
            ValueError: an unknown one.
        """
        if name is None:
            return cls.strategies[0]
        if name not in cls.strategies:
            raise ValueError(
                f"lane_strategy='{name}' is unknown with streams='{cls.option}'. "
                + hint(name, cls.strategies)
            )
        return name

    @staticmethod
    def places(family: Family) -> list[str]:
        """Names of the modules whose adapters may have task parameters."""
        raise NotImplementedError

    def make_lanes(self, strategy: str) -> dict[str, Any]:
        """Blocks (and mergings) that hold task adapters, by name."""
        merges, lanes = {stage.merge for stage in self.family.stages}, {}
        for name in self.places(self.family):
            block = self.network.get_submodule(name)
            run = self.family.run_merge if name in merges else self.family.run_block
            if any(isinstance(m, AdapterLayer) and m.adapter.tasks for m in block.modules()):
                lanes[name] = self.make_block(name, block, run, strategy)
        return lanes

    def make_block(self, name: str, block: nn.Module, run: Callable, strategy: str) -> LaneBlock:
        """One of them."""
        raise NotImplementedError

    # -- what a pass is made of ------------------------------------------------------------------

    def levels(
        self, x: Tensor, wanted: Sequence[str], unreduced: bool = False
    ) -> dict[str, tuple] | tuple:
        """Levels of each ``wanted`` task from the stem's map; one tuple where there are no tasks.

        ``unreduced`` as in :meth:`~mtpeft.models.backbones.AdapterBackbone.forward`.
        """
        raise NotImplementedError

    def call(self, function: Callable, *inputs: Tensor) -> Any:
        """``function`` of the inputs, once more in the backward pass with ``with_cp``."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(of_this_pass(function), *inputs, use_reentrant=False)
        return function(*inputs)

    def normed(self, stage: Stage, streams: list[Tensor]) -> list[Tensor]:
        """mmseg normalises outputs that were not merged."""
        if self.tap == 'post_merge' or stage.out_norm is None:
            return streams
        return each(self.network.get_submodule(stage.out_norm), streams)

    def find_layers(self) -> None:
        """Note which layers have adapters now, where some were replaced."""
        for lane in self.lanes.values():
            lane.find_layers()

    # -- what merging and reports ask ------------------------------------------------------------

    def idle_adapters(self) -> list[Adapter]:
        """Adapters whose shared path nobody reads."""
        return []

    def runs_twice(self, name: str) -> bool:
        """Does a module lie in a block that runs for the shared stream and again for lanes?"""
        return False

    def check_merge(self, task: str | None) -> None:
        """Refuse the weights of one plain network that are none.

        Raises:
            NotMergeableError: no such stream passes the whole network.
        """


def each(module: nn.Module, streams: Sequence[Tensor | None]) -> list[Tensor | None]:
    """``module`` of every stream that there is."""
    return [None if s is None else module(s) for s in streams]


def changed_in_place(family: Family, module: nn.Module) -> list[str]:
    """Names of layers inside ``module`` whose output the network changes in place."""
    ending = family.modified_in_place
    return [name for name, _ in module.named_modules() if ends_with(name, ending)]


def behind_attention(family: Family, block: nn.Module) -> BehindAttention | None:
    """The steps of ``block`` behind attention, for lanes that may start there."""
    # lanes beside a module start from its input
    if family.parts is None or any(isinstance(m, AdapterModule) for m in block.modules()):
        return None
    return BehindAttention(family.parts(block))
