"""Networks without a table of their own: shared adapters only."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage, measure
from mtpeft.models.backbones.families.picture_size import built_for, check_size, other_size

_LEVELS = 4


class GenericFamily(Family):
    """Any timm network with ``forward_intermediates`` or any mmseg backbone, as one piece.

    Adapters serve the shared stream; there are no lanes, since no block of the network is known.
    Levels that a network gives as ``(B, H, W, C)`` (timm's Swin with ``features_only=True``) are
    turned.

    Raises:
        ValueError: a level of the network is no map.
    """

    name = 'unlisted'
    turned: Sequence[bool] = (False,) * _LEVELS

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return True

    def make_stages(self, network: nn.Module) -> list[Stage]:
        side = built_for(network)
        maps = measure(network, self.features, side)
        self.turned = _channels_last(network, maps)
        stages = []
        for m, turned in zip(maps, self.turned, strict=True):
            channels, width = (m.shape[3], m.shape[2]) if turned else (m.shape[1], m.shape[3])
            stride = max(1, round(side[1] / width))
            stages.append(Stage([], '', None, channels, channels, stride))
        return stages

    def features(self, network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        """The network's own maps ``(B, C, H, W)``, at most the last four.

        Raises:
            ValueError: the network was built for pictures of another size.
        """
        size = tuple(x.shape[-2:])
        check_size(network, size)
        try:
            maps = _levels(network, x)
        except (AssertionError, RuntimeError) as error:
            # only the network knows which other sizes it takes
            fixed = (getattr(network, 'pretrained_cfg', None) or {}).get('fixed_input_size')
            if not fixed or size == built_for(network):
                raise
            raise ValueError(other_size(network, size, str(error))) from error
        return tuple(
            m.permute(0, 3, 1, 2).contiguous() if turned else m
            for m, turned in zip(maps, self.turned, strict=False)
        )

    def recompute(self, network: nn.Module, value: bool) -> None:
        switch = getattr(network, 'set_grad_checkpointing', None)
        if not value:
            return switch(False) if switch is not None else None
        why = 'has no set_grad_checkpointing'
        if switch is not None:
            try:
                before = kept_numbers(network)
                switch(True)
                if kept_numbers(network) < before:
                    return None
                switch(False)
                why = 'keeps as much as before with its set_grad_checkpointing'
            except AssertionError as error:
                why = f'says: {error}'
        raise ValueError(
            f'with_cp=True: {type(network).__name__} has no family table, and {why}, so nothing '
            'would be recomputed. Leave with_cp out. (A backbone of mmseg may have an option '
            "'with_cp' of its own, in its own config.)"
        )

    @property
    def patch_size(self) -> int:
        return 1

    @property
    def size_divisor(self) -> int:
        smallest = math.lcm(*(stage.stride for stage in self.stages))
        return smallest * -(-32 // smallest)


def _levels(network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """What a network gives, in its own layout."""
    if hasattr(network, 'forward_intermediates'):
        maps = network.forward_intermediates(x, intermediates_only=True)
    else:
        maps = network(x)
    return tuple(maps)[-_LEVELS:]


def _channels_last(network: nn.Module, maps: Sequence[Tensor]) -> list[bool]:
    """Which maps are ``(B, H, W, C)``, by the widths that timm tells of a network."""
    for m in maps:
        if not isinstance(m, Tensor) or m.ndim != 4:
            found = tuple(m.shape) if isinstance(m, Tensor) else type(m).__name__
            raise ValueError(
                f'{type(network).__name__} gives no maps (B, C, H, W) to read levels of, got '
                f'{found}. Take a backbone with maps at several strides.'
            )
    if hasattr(network, 'forward_intermediates') or not hasattr(network, 'feature_info'):
        return [False] * len(maps)
    said = str(getattr(network, 'output_fmt', 'NCHW')).endswith('NHWC')
    widths = network.feature_info.channels()[-len(maps) :]
    # where a map is as wide as it has channels, only what the network says can tell
    return [
        said if (m.shape[1] == width) == (m.shape[3] == width) else m.shape[3] == width
        for m, width in zip(maps, widths, strict=True)
    ]


def kept_numbers(network: nn.Module) -> int:
    """How many numbers a pass of one picture keeps for the backward pass."""
    count = 0

    def note(x: Tensor) -> Tensor:
        nonlocal count
        count += x.numel()
        return x

    def run(network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            return _levels(network, x.requires_grad_())

    measure(network, run, built_for(network))
    return count
