"""Networks without a table of their own: shared adapters only."""

from torch import Tensor, nn

from mtpeft.models.backbones.families.base import Family, Stage, measure


class GenericFamily(Family):
    """Any timm network with ``forward_intermediates`` or any mmseg backbone, as one piece.

    Adapters serve the shared stream; there are no lanes, since no block of the network is known.
    """

    name = 'unlisted'

    @staticmethod
    def serves(network: nn.Module) -> bool:
        return True

    def make_stages(self, network: nn.Module) -> list[Stage]:
        side = 224
        maps = measure(network, self.features, side)
        return [
            Stage([], '', None, m.shape[1], m.shape[1], max(1, round(side / m.shape[-1])))
            for m in maps
        ]

    def features(self, network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        """The network's own maps ``(B, C, H, W)``, at most the last four."""
        if hasattr(network, 'forward_intermediates'):
            maps = network.forward_intermediates(x, intermediates_only=True)
        else:
            maps = network(x)
        return tuple(maps)[-4:]

    @property
    def patch_size(self) -> int:
        return 1

    @property
    def size_divisor(self) -> int:
        return max(32, self.stages[-1].stride)
