"""Dropout of which nothing is kept: what it drops is drawn again in the backward pass."""

import math
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtpeft.ops.plain import plain_ops
from mtpeft.utils.torch_private import transform


def dropout(x: Tensor, p: float) -> Tensor:
    r"""``x`` with each number dropped with probability ``p``, the others over ``1 - p``.

    .. math:: y_i = \frac{m_i x_i}{1 - p}, \qquad m_i \sim \mathrm{Bernoulli}(1 - p)

    No mask is kept: the backward pass draws the same places from the same seed. On a CPU the places
    are drawn by the gaps between them, see :class:`Drops`, where ``F.dropout`` draws a number for
    each element (docs/speed.md has the times).

    Args:
        x: Any shape.
        p: In [0, 1].

    Returns:
        Of ``x``'s shape and type.

    Example:
        >>> set(dropout(torch.ones(1000), 0.5).tolist()) == {0.0, 2.0}
        True
    """
    if p == 0:
        return x
    if p < 1 and draws_again():
        return _Dropout.apply(x, p)
    if p < 1 and compiles_on_cpu(x):
        return _drop_operator(x, p)[0]
    return F.dropout(x, p)


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


def draws_again() -> bool:
    """May dropout be drawn again in the backward pass? Not under a compiler or ``torch.vmap``."""
    return not (plain_ops() or torch.compiler.is_compiling() or transform() is not None)


def compiles_on_cpu(x: Tensor) -> bool:
    """Is a graph made for a CPU? It calls an operator, so that places are as without a graph."""
    return torch.compiler.is_compiling() and x.device.type == 'cpu' and not plain_ops()


def new_seed() -> int:
    """From PyTorch's generator, so that ``torch.manual_seed`` and a resumed run decide it."""
    return int(torch.empty((), dtype=torch.int64).random_())


class Drops:
    r"""Places to drop, run by run; the same ones for the same seed, on a CPU wherever runs end.

    Whether an element is dropped is decided for each by itself. So the gap from one dropped element
    to the next has a geometric distribution, :math:`P(g) = p (1 - p)^{g - 1}`, and so has
    :math:`1 + \lfloor \log u / \log(1 - p) \rfloor` with u uniform in (0, 1]. On a CPU the gaps are
    drawn, one number for each dropped element. On other devices a mask is drawn.

    Args:
        p: Probability, between 0 and 1.
        seed: What decides all places.
        device: Where they are wanted.

    Example:
        >>> one, again = Drops(0.1, 7, torch.device('cpu')), Drops(0.1, 7, torch.device('cpu'))
        >>> torch.equal(one.next(500), again.next(500))
        True
    """

    def __init__(self, p: float, seed: int, device: torch.device) -> None:
        self.p, self.device = p, device
        self.generator = torch.Generator(device).manual_seed(seed)
        self._ahead = torch.tensor([-1])

    def next(self, count: int) -> Tensor:
        """Places among the next ``count`` elements: their positions on a CPU, else a mask."""
        if self.device.type != 'cpu':
            mask = torch.empty(count, dtype=torch.bool, device=self.device)
            return mask.bernoulli_(self.p, generator=self.generator)
        found = [self._ahead]
        last = int(self._ahead[-1])
        while last < count:
            left = (count - last) * self.p
            gaps = torch.empty(int(left + 5 * math.sqrt(left)) + 8)
            gaps.uniform_(generator=self.generator).neg_().log1p_().div_(math.log1p(-self.p))
            found.append(gaps.to(torch.int64).add_(1).cumsum_(0).add_(last))
            last = int(found[-1][-1])
        places = torch.cat(found)
        start, end = torch.searchsorted(places, torch.tensor([0, count])).tolist()
        # what lies behind is for the next run; places do not depend on where runs end
        self._ahead = places[end:] - count
        return places[start:end]

    def drop_(self, x: Tensor, places: Tensor) -> Tensor:
        """``x``, contiguous, with zeros at the places; changed in place."""
        flat = x.view(-1)
        if places.dtype == torch.bool:
            flat.masked_fill_(places, 0)
        else:
            flat.index_fill_(0, places, 0)
        return x


def _draw(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    seed = new_seed()
    return _dropped(x, p, seed), torch.tensor(seed)


def _draw_again(x: Tensor, p: float, seed: Tensor) -> Tensor:
    return _dropped(x, p, int(seed))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        ctx.p, ctx.seed = p, new_seed()
        return _dropped(x, p, ctx.seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _dropped(grad, ctx.p, ctx.seed), None


def _dropped(x: Tensor, p: float, seed: int) -> Tensor:
    drops = Drops(p, seed, x.device)
    # places are counted in the order of the axes, whatever the strides
    out = x.new_empty(x.shape)
    torch.mul(x, 1 / (1 - p), out=out)
    return drops.drop_(out, drops.next(x.numel()))


# Two draws are never one, whatever a compiler finds equal. (Lanes are compiled from torch 2.12 on.)
_tags = torch.Tag.nondeterministic_seeded
_tagged = {'tags': _tags} if 'tags' in signature(torch.library.custom_op).parameters else {}
_drop_operator = torch.library.custom_op('mtpeft::dropout', _draw, mutates_args=(), **_tagged)
_again_operator = torch.library.custom_op('mtpeft::dropout_again', _draw_again, mutates_args=())


@_drop_operator.register_fake
def _(x, p):  # noqa: ANN001, ANN202
    return x.new_empty(x.shape), torch.empty((), dtype=torch.int64)


@_again_operator.register_fake
def _(x, p, seed):  # noqa: ANN001, ANN202
    return x.new_empty(x.shape)


def _setup(ctx, inputs, output) -> None:  # noqa: ANN001
    ctx.p = inputs[1]
    ctx.save_for_backward(output[1])


def _backward(ctx, grad: Tensor, _: Any) -> tuple[Tensor, None]:  # noqa: ANN001
    return _again_operator(grad, ctx.p, *ctx.saved_tensors), None


_drop_operator.register_autograd(_backward, setup_context=_setup)
