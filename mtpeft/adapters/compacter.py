"""Compacter: bottleneck adapters of Kronecker products (arXiv 2106.04647)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.bottleneck import BottleneckAdapter
from mtpeft.adapters.common import CommonModule, SharesAcrossLayers, Site
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Size


class PHMRule(CommonModule):
    """The n matrices A_i ``(n, n, n)`` that all layers share; normal with deviation 1/sqrt(n).

    Args:
        n: Number and size of the matrices.
        tasks: Names of the task lanes.

    Example:
        >>> PHMRule(4).A.shape
        torch.Size([4, 4, 4])
    """

    component = 'phm_rule'

    def __init__(self, n: int, tasks: Sequence[str] = ()) -> None:
        super().__init__(tasks)
        self.A = nn.Parameter(torch.randn(n, n, n) * n**-0.5)


def kronecker_sum(a: Tensor, s: Tensor, t: Tensor) -> Tensor:
    r"""The weight of a parameterized hypercomplex multiplication with low-rank factors.

    .. math:: W = \sum_{i=1}^n A_i \otimes (s_i t_i)

    (arXiv 2106.04647, section 4.2.)

    Args:
        a: A ``(n, n, n)``.
        s: ``(..., n, out / n, r)``.
        t: ``(..., n, r, in / n)``.

    Returns:
        ``(..., out, in)``.

    Example:
        >>> kronecker_sum(torch.rand(2, 2, 2), torch.rand(2, 5, 1), torch.rand(2, 1, 3)).shape
        torch.Size([10, 6])
    """
    blocks = torch.einsum('nab,...noi->...aobi', a, s @ t)
    return blocks.flatten(-4, -3).flatten(-2, -1)


@ADAPTERS.register_module()
class Compacter(SharesAcrossLayers, BottleneckAdapter):
    r"""A bottleneck adapter whose weights are sums of Kronecker products (arXiv 2106.04647).

    .. math:: y = h + s\,\big(W_\uparrow\, a(W_\downarrow h + b_\downarrow) + b_\uparrow\big),
              \qquad W = \sum_{i=1}^n A_i \otimes (s_i t_i)

    with :math:`h = W_0 x + b`. The A_i ``(n, n)`` are shared by all layers of a plugin, by down and
    up, and by all lanes (:class:`PHMRule`); s_i and t_i of rank r and the biases are the layer's,
    and each lane has its own: (2 r + 1)(out + m) numbers. Compacter stands behind ``proj`` and
    ``fc2``, Compacter++ behind ``fc2`` only.

    t starts uniform in +-1/sqrt(in), s of W_down normal with deviation 1/sqrt(r), s of W_up and the
    biases at 0, so the start is the pretrained layer and W_down as large as in
    :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Args:
        layer: The layer to adapt, Linear or Conv2d.
        tasks: Names of the task lanes.
        n: Number and size of the A_i; has to divide the layer's outputs.
        rank: r.
        width: m, a multiple of n. Default: outputs / ``reduction``, rounded to one.
        common: The rule that layers share. ``None``: one of its own. The backbone gives all layers
            of a plugin the same.
        site: Where the layer is in the network.
        **kwargs: ``reduction``, ``activation``, ``bias`` and ``scale`` of
            :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Raises:
        ValueError: n does not divide the layer's outputs or ``width``, n or r is below 1, or as
            :class:`~mtpeft.adapters.bottleneck.BottleneckAdapter`.

    Example:
        >>> adapter = Compacter(nn.Linear(8, 16), n=2, width=4)
        >>> adapter.common.A.shape, adapter.down_s.shape, adapter.down_t.shape
        (torch.Size([2, 2, 2]), torch.Size([2, 2, 1]), torch.Size([2, 1, 8]))
    """

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> PHMRule:
        return PHMRule(_positive('n', cfg.get('n', 4)), tasks)

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        n: Size = 4,
        rank: Size = 1,
        width: Size | None = None,
        common: PHMRule | None = None,
        site: Site | None = None,
        **kwargs: Any,
    ) -> None:
        self.n = _positive('n', n)
        self.rank = _positive('rank', rank)
        super().__init__(layer, tasks, width, **kwargs)
        self.join(layer, common, site, dict(n=n))

    def pick_width(self, width: int | None, reduction: float | None) -> int:
        n = self.n
        if self.channels % n:
            divisors = [d for d in range(1, self.channels + 1) if self.channels % d == 0]
            near = sorted(divisors, key=lambda d: abs(d - n))[:3]
            raise ValueError(
                f'expected n to divide the {self.channels} outputs of the layer, got n={n}; '
                f'the nearest that do: {", ".join(map(str, sorted(near)))}'
            )
        wanted = super().pick_width(width, reduction)
        if width is None:
            return n * max(1, round(wanted / n))
        if wanted % n:
            raise ValueError(
                f'expected width to be a multiple of n={n}, got {width}; the nearest: '
                f'{n * max(1, round(wanted / n))}'
            )
        return wanted

    def _add(self, prefix: str, lead: tuple[int, ...], layer: nn.Module) -> list[str]:
        sizes = dict(down=(self.width, self.channels), up=(self.channels, self.width))
        names = []
        for which, (out, fan_in) in sizes.items():
            shapes = {
                f'{prefix}{which}_s': (self.n, out // self.n, self.rank),
                f'{prefix}{which}_t': (self.n, self.rank, fan_in // self.n),
            }
            if self.bias:
                shapes[f'{prefix}{which}_bias'] = (out,)
            for name, shape in shapes.items():
                setattr(self, name, nn.Parameter(layer.weight.new_zeros(*lead, *shape)))
            s, t = (getattr(self, name) for name in list(shapes)[:2])
            nn.init.uniform_(t, -(fan_in**-0.5), fan_in**-0.5)
            if which == 'down':
                nn.init.normal_(s, std=self.rank**-0.5)
            names += shapes
        return names

    # -- weights -------------------------------------------------------------------------------

    def shared_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return self._weights('')

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return self._weights('task_')

    def _weights(self, prefix: str) -> dict[str, Tensor]:
        weights = {}
        for which in ('down', 'up'):
            s, t = getattr(self, f'{prefix}{which}_s'), getattr(self, f'{prefix}{which}_t')
            weights[which] = kronecker_sum(self.common.A, s, t)
            if self.bias:
                weights[f'{which}_bias'] = getattr(self, f'{prefix}{which}_bias')
        return weights


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f'expected {name} to be a positive integer, got {value!r}')
    return value
