"""Modulated weights and their gradients, made tile by tile in a processor's cache."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtpeft.ops.lowpass import RADIUS, gaussian

# Rows and columns of a tile, of which a few copies stay in the cache of a core.
_ROWS, _COLUMNS = 96, 1024


def tiled_modulation(
    base: Tensor,
    omega: Tensor,
    weight: Tensor | None,
    gain: float,
    sine: bool = True,
    lowpass: bool = True,
) -> Tensor:
    r"""Weights :math:`W_0 + g\, G * \sin(\omega_t M)` without a whole matrix in between.

    Each step from M to the weights makes something as large as they are, of which a dozen would
    pass through memory. Here a tile takes all of them at once. In the backward pass, with D the
    gradient of the weights,

    .. math::
        C_t = g \cos(\omega_t M) \odot (G^T * D_t), \quad
        \nabla_M = \sum_t \omega_t C_t, \quad \nabla_{\omega_t} = \langle M, C_t \rangle, \quad
        \nabla_{W_0} = \sum_t D_t

    and nothing but M and the frequencies is kept for it. For a CPU; elsewhere it is slow.

    Args:
        base: M ``(1 or T, out, in, ...)``, float32 or float64.
        omega: ``(T,)``, of the same type.
        weight: W0 ``(out, in, ...)``, ``None`` for 0.
        gain: g.
        sine: ``False``: :math:`W_0 + g\, G * (\omega_t M)`.
        lowpass: ``False``: without G.

    Returns:
        ``(T, out, in, ...)``.
    """
    shape = base.shape[1:]
    planes = base.reshape(len(base), *shape[:2], -1)
    frozen = None if weight is None else weight.reshape(*shape[:2], -1)
    out = _TiledModulation.apply(planes, omega, frozen, gain, sine, lowpass)
    return out.view(len(omega), *shape)


class _Span(NamedTuple):
    """Entries ``[start, end)`` of an axis of ``size`` entries that are ``step`` places apart."""

    start: int
    end: int
    size: int
    step: int

    @property
    def low(self) -> int:
        """The first entry that a smoothed one is made of."""
        return max(self.start - RADIUS, 0)

    @property
    def high(self) -> int:
        """Behind the last entry that a smoothed one is made of."""
        return min(self.end + RADIUS, self.size)

    @property
    def beyond(self) -> tuple[int, int]:
        """Entries before and behind the axis that a smoothed one would be made of."""
        return RADIUS - self.start + self.low, RADIUS - self.high + self.end

    @property
    def inside(self) -> slice:
        return slice(self.start * self.step, self.end * self.step)

    @property
    def around(self) -> slice:
        return slice(self.low * self.step, self.high * self.step)


class _TiledModulation(torch.autograd.Function):
    """The same of ``(1 or T, out, in, taps)``."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,
        omega: Tensor,
        weight: Tensor | None,
        gain: float,
        sine: bool,
        lowpass: bool,
    ) -> Tensor:
        ctx.save_for_backward(base, omega)
        ctx.options = gain, sine, lowpass
        out = base.new_empty(len(omega), *base.shape[1:])
        matrices, into = base.flatten(2), out.flatten(2)
        frozen = None if weight is None else weight.flatten(1)
        frequencies = omega.tolist()
        for rows, columns in _tiles(base):
            inside = rows.inside, columns.inside
            around = (rows.around, columns.around) if lowpass else inside
            for task, frequency in enumerate(frequencies):
                tile = matrices[_of(task, base)][around] * frequency
                if sine:
                    tile.sin_()
                if lowpass:
                    tile = _smooth(_smooth(tile, rows, 0), columns, 1)
                if frozen is None:
                    torch.mul(tile, gain, out=into[task][inside])
                else:
                    torch.add(frozen[inside], tile, alpha=gain, out=into[task][inside])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        base, omega = ctx.saved_tensors
        gain, sine, lowpass = ctx.options
        need_base, need_omega, need_weight = ctx.needs_input_grad[:3]
        # (contiguous, whatever the base is: it is written through views)
        d_base, d_omega = base.new_empty(base.shape), torch.zeros_like(omega)
        matrices, totals, upstream = base.flatten(2), d_base.flatten(2), grad.flatten(2)
        frequencies = omega.tolist()
        for rows, columns in _tiles(base) if need_base or need_omega else ():
            inside = rows.inside, columns.inside
            around = (rows.around, columns.around) if lowpass else inside
            for task, frequency in enumerate(frequencies):
                tile = matrices[_of(task, base)][inside].contiguous()
                change = upstream[task][around]
                if lowpass:
                    change = _smooth_back(_smooth_back(change, rows, 0), columns, 1)
                change = (tile * frequency).cos_().mul_(change) if sine else change.contiguous()
                d_omega[task] += gain * torch.dot(tile.view(-1), change.view(-1))
                place = totals[_of(task, base)][inside]
                if task == 0 or len(base) > 1:
                    torch.mul(change, gain * frequency, out=place)
                else:
                    place.add_(change, alpha=gain * frequency)
        d_weight = grad.sum(0) if need_weight else None
        return d_base, d_omega, d_weight, None, None, None


def _of(task: int, base: Tensor) -> int:
    return task if len(base) > 1 else 0


def _tiles(base: Tensor) -> Iterator[tuple[_Span, _Span]]:
    rows, columns, taps = base.shape[1:]
    width = max(_COLUMNS // taps, 1)
    for top in range(0, rows, _ROWS):
        for left in range(0, columns, width):
            yield (
                _Span(top, min(top + _ROWS, rows), rows, 1),
                _Span(left, min(left + width, columns), columns, taps),
            )


def _smooth(x: Tensor, span: _Span, dim: int) -> Tensor:
    """Of the entries of a span and those around it; beyond the axis lie copies of its ends."""
    (before, behind), step = span.beyond, span.step
    if before or behind:
        first, last = x.narrow(dim, 0, step), x.narrow(dim, x.shape[dim] - step, step)
        x = torch.cat([first] * before + [x] + [last] * behind, dim)
    return _weighted_sum(x, dim, step)


def _smooth_back(x: Tensor, span: _Span, dim: int) -> Tensor:
    """With the transposed matrix: what an end was copied to beyond the axis comes back to it."""
    (before, behind), step, kernel = span.beyond, span.step, gaussian()
    pads = [before * step, behind * step]
    out = _weighted_sum(F.pad(x, pads if dim else [0, 0, *pads]), dim, step)
    for i in range(min(RADIUS, span.size)):
        copies = sum(kernel[RADIUS + i + 1 :])  # of the end, in the sum of the i-th entry from it
        if span.start == 0:
            out.narrow(dim, 0, step).add_(x.narrow(dim, i * step, step), alpha=copies)
        if span.end == span.size:
            near = x.narrow(dim, x.shape[dim] - (i + 1) * step, step)
            out.narrow(dim, out.shape[dim] - step, step).add_(near, alpha=copies)
    return out


def _weighted_sum(x: Tensor, dim: int, step: int) -> Tensor:
    """Of seven neighbours along an axis, three less at either end.

    A tile is taken as one row of numbers in which neighbours are a fixed distance apart, so that
    no loop runs over its rows; sums across the end of a row are left out of the result.
    """
    kernel, (rows, columns) = gaussian(), x.shape
    apart = step if dim else columns
    flat = x.contiguous().view(-1)
    size = len(flat) - 2 * RADIUS * apart
    shifted = [flat[i * apart :][:size] for i in range(2 * RADIUS + 1)]
    out = shifted[RADIUS] * kernel[RADIUS]
    for i in (*range(RADIUS), *range(RADIUS + 1, 2 * RADIUS + 1)):
        out.add_(shifted[i], alpha=kernel[i])
    lost = 2 * RADIUS * step
    shape = (rows, columns - lost) if dim else (rows - lost, columns)
    return out.as_strided(shape, (columns, 1))
