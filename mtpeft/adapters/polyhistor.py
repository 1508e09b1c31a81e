"""Polyhistor and Polyhistor-Lite: adapters from decomposed hypernetworks (arXiv 2210.03265)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.common import Site
from mtpeft.adapters.hypernetwork import GeneratedAdapter, HyperNetwork, Part
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Size


class ScaledTemplate(HyperNetwork):
    r"""A template adapter for all layers, and a small kernel for each that scales it up.

    .. math:: W_l = S_l \otimes T_t

    T ``(m0, d0)`` is generated of the task's embedding, with the shape of the first adapted layer's
    adapter; S_l ``(ceil(m / m0), ceil(d / d0))`` is learnt. What is longer than the layer is cut
    off; widths that are multiples of the first, as a Swin's, leave nothing to cut.

    Args:
        tasks: Names of the task lanes.
        embedding: Size of the embeddings and of I.
        hidden: Inner size of the projector.
    """

    def __init__(
        self, tasks: Sequence[str] = (), embedding: int = 64, hidden: int = 128
    ) -> None:  # fmt: skip
        super().__init__(tasks, embedding, hidden, places=False)
        self.template: tuple[int, int] | None = None
        self.kernels_down, self.kernels_up = nn.ParameterList(), nn.ParameterList()

    def add_kernels(self, width: int, channels: int) -> None:
        """Kernels of the next layer, whose adapter has ``width`` m and ``channels`` d."""
        self.template = self.template or (width, channels)
        m, d = (-(-a // b) for a, b in zip((width, channels), self.template, strict=True))
        # so that the entries of W_down have the variance of a bottleneck adapter's
        self.kernels_down.append(nn.Parameter(torch.randn(m, d) * d**-0.5))
        self.kernels_up.append(nn.Parameter(torch.randn(d, m) * m**-0.5))

    def parameter_components(self) -> dict[str, list[str]]:
        parts = super().parameter_components()
        kernels = [name for name in parts['hypernetwork'] if name.startswith('kernels_')]
        rest = [name for name in parts['hypernetwork'] if name not in kernels]
        return {**parts, 'hypernetwork': rest, 'scaling_kernels': kernels}


@ADAPTERS.register_module()
class Polyhistor(GeneratedAdapter):
    r"""Bottleneck adapters from decomposed hypernetworks (arXiv 2210.03265).

    .. math:: y_t = h_t + s\, W_\uparrow a(W_\downarrow h_t), \qquad
              W_\downarrow = P_\downarrow Q_\downarrow, \quad W_\uparrow = P_\uparrow Q_\uparrow,
              \qquad h_t = W_0 x_t + b

    Each of the four matrices has its own linear generator, so a weight ``(m, d)`` costs
    ``E r (m + d)`` parameters instead of the ``E m d`` of HyperFormer. With ``lite=True`` they make
    the template of one small adapter, which a scaling kernel of each layer enlarges
    (:class:`ScaledTemplate`). P_up starts at 0, so the start is the pretrained layer. There are no
    biases. What of this the paper leaves open is said in docs/methods/polyhistor.md.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        rank: r, the inner size of the products P Q.
        lite: Polyhistor-Lite.
        embedding: E, size of the embeddings.
        hidden: Inner size of the projector of the embeddings.
        generators: ``'layer'``: generators for each layer, on the task's embedding. ``'width'``:
            for each width, told apart by embeddings of layer and position. Not with ``lite``,
            which has one set for all.
        common: The hypernetwork; ``None``: one of its own.
        site: Where the layer is in the network.
        **kwargs: ``width``, ``reduction``, ``activation`` and ``scale`` of
            :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Raises:
        ValueError: an option is unknown or out of its range.
        KeyError: a task without an embedding.

    Example:
        >>> adapter = Polyhistor(nn.Linear(8, 16), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.generated(['depth'])['down'].shape
        torch.Size([1, 2, 16])
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        rank: Size = 4,
        lite: bool = False,
        embedding: Size = 64,
        hidden: Size = 128,
        generators: Literal['width', 'layer'] = 'layer',
        common: HyperNetwork | None = None,
        site: Site | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, tasks, bias=False, **kwargs)
        if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
            raise ValueError(f'expected rank to be a positive integer, got {rank!r}')
        self.rank, self.lite = rank, lite
        cfg = dict(lite=lite, embedding=embedding, hidden=hidden, generators=generators)
        self.join(layer, common, site, cfg)
        self.common.check(self.tasks)
        if lite:
            self.common.add_kernels(self.width, self.channels)
            self.key = 'template'
        else:
            self.key = self.generator_key(generators)
        self.common.add_generator(self.key, self._parts())
        self.name_own_common()

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> HyperNetwork:
        generators = cfg.get('generators', 'layer')
        options = cls.network_options(generators, cfg)
        if cfg.get('lite'):
            if generators != 'layer':
                raise ValueError('generators is for lite=False; Polyhistor-Lite has one template')
            return ScaledTemplate(tasks, **options)
        return HyperNetwork(tasks, places=generators == 'width', **options)

    def _parts(self) -> dict[str, Part]:
        width, channels = self.common.template if self.lite else (self.width, self.channels)
        rank = self.rank
        return dict(
            down_p=Part((width, rank), rank**-0.5),
            # W_down then has the variance of a uniform distribution in +-1/sqrt(channels)
            down_q=Part((rank, channels), (3 * channels) ** -0.5),
            up_p=Part((channels, rank), 0),
            up_q=Part((rank, width), (3 * width) ** -0.5),
        )

    def generated(self, streams: Sequence[str]) -> dict[str, Tensor]:
        common = self.common
        factors = common.generators[self.key](common.condition(streams, self.site))
        down = factors['down_p'] @ factors['down_q']
        up = factors['up_p'] @ factors['up_q']
        if self.lite:
            kernels = common.kernels_down[self.site], common.kernels_up[self.site]
            down = _scaled(kernels[0], down)[:, : self.width, : self.channels]
            up = _scaled(kernels[1], up)[:, : self.channels, : self.width]
        return dict(down=down, up=up)


def _scaled(kernel: Tensor, templates: Tensor) -> Tensor:
    """Kronecker products of ``kernel`` with each of ``templates`` ``(S, m, d)``."""
    return torch.kron(kernel[None], templates)
