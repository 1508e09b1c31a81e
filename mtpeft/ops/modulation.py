"""Weights switched by frequency: a sine of a base, smoothed (Free Sinewich, arXiv 2603.21111)."""

import torch
from torch import Tensor

from mtpeft.ops.lowpass import smooth
from mtpeft.ops.plain import plain_ops
from mtpeft.ops.tiled_modulation import tiled_modulation
from mtpeft.utils.torch_private import transform


def modulate(
    base: Tensor,
    omega: Tensor,
    gain: float,
    sine: bool = True,
    lowpass: bool = True,
    weight: Tensor | None = None,
) -> Tensor:
    r"""The weight of each task from one base, or from its own.

    .. math:: \tilde M_t = g\, G * \sin(\omega_t M)

    with G a Gaussian low-pass over the (out, in) plane, for each tap of a kernel. In float32 at
    least, also under autocast: the sine of a large angle has no use for bfloat16. On a CPU it is
    made tile by tile (:func:`~mtpeft.ops.tiled_modulation.tiled_modulation`).

    Args:
        base: M ``(1, out, in, ...)``, one for all tasks, or ``(T, out, in, ...)``.
        omega: :math:`\omega_t` ``(T,)``.
        gain: g.
        sine: ``False``: :math:`g\, G * (\omega_t M)`.
        lowpass: ``False``: without G.
        weight: W0 ``(out, in, ...)``, which each is added to.

    Returns:
        ``(T, out, in, ...)``, of ``base``'s type.

    Example:
        >>> modulate(torch.randn(1, 8, 6), torch.tensor([20.0, 50.0]), gain=1.0).shape
        torch.Size([2, 8, 6])
    """
    with torch.autocast(base.device.type, enabled=False):
        if _in_tiles(base, weight):
            return tiled_modulation(base, omega.to(base), weight, gain, sine, lowpass)
        low = base.dtype in (torch.float16, torch.bfloat16)
        m = base.float() if low else base
        angle = omega.to(m).view(-1, *[1] * (m.ndim - 1)) * m
        change = angle.sin() if sine else angle
        if lowpass:
            change = smooth(smooth(change, 1), 2)
        change = (gain * change).to(base.dtype)
        return change if weight is None else weight + change


def _in_tiles(base: Tensor, weight: Tensor | None) -> bool:
    """A compiler fuses the plain formula by itself, and a transform has to see it."""
    alike = weight is None or weight.dtype == base.dtype
    whole = base.device.type == 'cpu' and base.dtype in (torch.float32, torch.float64) and alike
    seen = torch.compiler.is_compiling() or transform() is not None
    return whole and not (seen or plain_ops())
