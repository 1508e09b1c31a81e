"""HyperFormer: adapters of all layers and tasks from one hypernetwork (arXiv 2106.04489)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mtpeft.adapters.common import Site
from mtpeft.adapters.hypernetwork import GeneratedAdapter, HyperNetwork, Part
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Size


@ADAPTERS.register_module()
class HyperFormer(GeneratedAdapter):
    r"""Bottleneck adapters whose weights a hypernetwork generates (arXiv 2106.04489).

    .. math:: y_t = h_t + s\,\big(U_t\, a(D_t h_t + d_t) + u_t\big), \qquad
              (D_t, U_t, d_t, u_t) = G\, I_{t,l,p}, \qquad h_t = W_0 x_t + b

    I is the condition of :class:`~mtpeft.adapters.hypernetwork.HyperNetwork`, made of embeddings of
    task t, block l and position p; G is linear, without bias. All layers of a plugin share the
    hypernetwork. A generator makes weights of one shape, so a network whose widths differ has one
    for each width. U, d and u start at 0, so the start is the pretrained layer; D starts with the
    variance of a bottleneck adapter's.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        embedding: Size of the embeddings and of I.
        hidden: Inner size of the projector of the embeddings.
        generators: ``'width'``: one for each width, told apart by embeddings of layer and position
            (the paper's HyperFormer++). ``'layer'``: one for each layer, on the embedding of the
            task alone (its HyperFormer).
        common: The hypernetwork; ``None``: one of its own.
        site: Where the layer is in the network.
        **kwargs: Options of :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Raises:
        ValueError: an option is unknown or out of its range.
        KeyError: a task without an embedding.

    Example:
        >>> adapter = HyperFormer(nn.Linear(8, 16), tasks=['semseg', 'depth'], embedding=4)
        >>> adapter.generated(['depth'])['down'].shape
        torch.Size([1, 2, 16])
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        embedding: Size = 64,
        hidden: Size = 128,
        generators: Literal['width', 'layer'] = 'width',
        common: HyperNetwork | None = None,
        site: Site | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, tasks, **kwargs)
        cfg = dict(embedding=embedding, hidden=hidden, generators=generators)
        self.join(layer, common, site, cfg)
        self.common.check(self.tasks)
        self.key = self.generator_key(generators)
        self.common.add_generator(self.key, self._parts())
        self.name_own_common()

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> HyperNetwork:
        generators = cfg.get('generators', 'width')
        options = cls.network_options(generators, cfg)
        return HyperNetwork(tasks, places=generators == 'width', **options)

    def _parts(self) -> dict[str, Part]:
        channels, width = self.channels, self.width
        # as a uniform distribution in +-1/sqrt(channels)
        parts = dict(down=Part((width, channels), (3 * channels) ** -0.5))
        parts['up'] = Part((channels, width), 0)
        if self.bias:
            parts |= dict(down_bias=Part((width,), 0), up_bias=Part((channels,), 0))
        return parts

    def generated(self, streams: Sequence[str]) -> dict[str, Tensor]:
        return self.common.generators[self.key](self.common.condition(streams, self.site))
