"""Hypernetworks: the weights of adapters from embeddings of task, layer and position."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mtpeft.adapters.bottleneck import BottleneckAdapter
from mtpeft.adapters.common import CommonModule, SharesAcrossLayers
from mtpeft.utils.suggest import hint

#: one generator for each width of a layer, or for each layer
GENERATORS = ('width', 'layer')

SHARED = 'shared'


class Part(NamedTuple):
    """A tensor to generate.

    Attributes:
        shape: Of the tensor.
        std: Standard deviation of its entries at the start; 0: it starts at 0.
    """

    shape: tuple[int, ...]
    std: float


class Generator(nn.Module):
    """A linear map without bias from a condition ``(S, E)`` to tensors ``(S, *shape)``.

    Args:
        parts: The tensors by name.
        size: E. Conditions are expected to have entries of variance 1.
    """

    def __init__(self, parts: Mapping[str, Part], size: int) -> None:
        super().__init__()
        self.shapes = {name: part.shape for name, part in parts.items()}
        for name, part in parts.items():
            weight = torch.zeros(torch.Size(part.shape).numel(), size)
            if part.std:
                weight.normal_(std=part.std * size**-0.5)
            self.register_parameter(name, nn.Parameter(weight))

    def forward(self, condition: Tensor) -> dict[str, Tensor]:
        return {
            name: nn.functional.linear(condition, self.get_parameter(name)).unflatten(-1, shape)
            for name, shape in self.shapes.items()
        }


class HyperNetwork(CommonModule):
    r"""Conditions for generators, shared by the adapters of all layers and tasks.

    .. math:: I_{t,l,p} = \mathrm{LN}\big(W_2\,\mathrm{ReLU}(W_1 [z_t; e_l; e_p] + b_1) + b_2\big)

    with an embedding for each task (and the shared stream), each block l, and each position p of a
    layer in its block (``attn.proj``, ``mlp.fc2``).

    Args:
        tasks: Names of the task lanes.
        embedding: Size of each embedding and of I.
        hidden: Inner size of the projector.
        places: ``False``: without e_l and e_p; generators tell layers apart.

    Raises:
        ValueError: a size below 1, or a task called ``'shared'``.

    Example:
        >>> network = HyperNetwork(['semseg', 'depth'], embedding=8)
        >>> site = network.add_site(nn.Linear(4, 4), 'blocks.0.fc', 'blocks.0')
        >>> network.condition(['depth', 'semseg'], site).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        tasks: Sequence[str] = (),
        embedding: int = 64,
        hidden: int = 128,
        places: bool = True,
    ) -> None:
        super().__init__(tasks)
        for name, value in (('embedding', embedding), ('hidden', hidden)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'expected {name} to be a positive integer, got {value!r}')
        if SHARED in self.tasks:
            raise ValueError(f"a task cannot be called '{SHARED}', as the shared stream is")
        self.size = embedding
        self.places = places
        self.streams = nn.ParameterDict({n: self._embedding() for n in (*self.tasks, SHARED)})
        self.blocks, self.positions = nn.ParameterList(), nn.ParameterList()
        self._index: list[tuple[int, int]] = []
        self.projector = nn.Sequential(
            nn.Linear(embedding * (3 if places else 1), hidden),
            nn.ReLU(),
            nn.Linear(hidden, embedding),
            nn.LayerNorm(embedding),
        )
        self.generators = nn.ModuleDict()

    def _embedding(self) -> nn.Parameter:
        return nn.Parameter(torch.randn(self.size))

    def add_site(self, layer: nn.Module, name: str = '', block: str = '') -> int:
        site = super().add_site(layer, name, block)
        if self.places:
            known = self.sites[:site]
            blocks = list(dict.fromkeys(s.block for s in known))
            positions = list(dict.fromkeys(s.position for s in known))
            place = self.sites[site]
            for names, own, table in (
                (blocks, place.block, self.blocks),
                (positions, place.position, self.positions),
            ):  # fmt: skip
                if own not in names:
                    names.append(own)
                    table.append(self._embedding())
            self._index.append((blocks.index(place.block), positions.index(place.position)))
        return site

    def without_shared(self) -> None:
        """Drop the embedding of the shared stream, where there is none."""
        if SHARED in self.streams:
            del self.streams[SHARED]

    def shared_only(self) -> list[nn.Parameter]:
        return [self.streams[SHARED]] if SHARED in self.streams else []

    def condition(self, streams: Sequence[str], site: int) -> Tensor:
        """I of ``streams`` (tasks or ``'shared'``) at a site, ``(S, E)``.

        Raises:
            KeyError: one has no embedding.
        """
        self.check(streams)
        parts = [torch.stack([self.streams[name] for name in streams])]
        if self.places:
            block, position = self._index[site]
            parts += [e.expand_as(parts[0]) for e in (self.blocks[block], self.positions[position])]
        return self.projector(torch.cat(parts, -1))

    def check(self, streams: Sequence[str]) -> None:
        """Raise KeyError for a task without an embedding."""
        for name in streams:
            if name not in self.streams:
                raise KeyError(
                    f"The hypernetwork has no embedding for '{name}'. "
                    + hint(name, list(self.streams))
                )

    def add_generator(self, key: str, parts: Mapping[str, Part]) -> None:
        """Make the generator ``key`` unless there is one."""
        if key not in self.generators:
            self.generators[key] = Generator(parts, self.size)

    def parameter_components(self) -> dict[str, list[str]]:
        names = [name for name, _ in self.named_parameters()]
        tables = ('streams.', 'blocks.', 'positions.')
        return {
            'embeddings': [name for name in names if name.startswith(tables)],
            'hypernetwork': [name for name in names if not name.startswith(tables)],
        }


class GeneratedAdapter(SharesAcrossLayers, BottleneckAdapter):
    """A bottleneck adapter without parameters: a hypernetwork makes its weights.

    A method calls :meth:`~mtpeft.adapters.common.SharesAcrossLayers.join` and defines
    :meth:`generated`.
    """

    common: HyperNetwork

    @staticmethod
    def network_options(generators: str, cfg: Mapping) -> dict[str, int]:
        """What of an adapter's options is the hypernetwork's.

        Raises:
            ValueError: ``generators`` is unknown.
        """
        if generators not in GENERATORS:
            raise ValueError(
                f"generators='{generators}' is unknown. " + hint(str(generators), GENERATORS)
            )
        return {k: cfg[k] for k in ('embedding', 'hidden') if k in cfg}

    def generator_key(self, generators: str) -> str:
        """Name of this layer's generator, one for each ``'width'`` or for each ``'layer'``."""
        return f'{self.channels}x{self.width}' if generators == 'width' else f'site{self.site}'

    def make_parameters(self, layer: nn.Module) -> None:
        """None: they are in the hypernetwork."""

    def generated(self, streams: Sequence[str]) -> dict[str, Tensor]:
        """``down`` ``(S, m, out)``, ``up`` ``(S, out, m)``, and biases, of some streams."""
        raise NotImplementedError

    def shared_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return {name: weight[0] for name, weight in self.generated([SHARED]).items()}

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return {f'task_{name}': weight for name, weight in self.generated(self.tasks).items()}

    def without_shared(self) -> None:
        super().without_shared()
        self.common.without_shared()
        self.name_own_common()

    def ranks(self) -> dict[str, int]:
        streams = (SHARED, *self.tasks) if SHARED in self.common.streams else self.tasks
        return dict.fromkeys(streams, self.width)
