"""Weights switched by frequency: a sine of a base, smoothed (Free Sinewich, arXiv 2603.21111)."""

import operator
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.eager_op import transform as _transform
from mtpeft.adapters.lowpass import smooth
from mtpeft.adapters.tiled_modulation import tiled_modulation


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
    made tile by tile (:func:`~mtpeft.adapters.tiled_modulation.tiled_modulation`).

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
    return whole and not (torch.compiler.is_compiling() or _transform() is not None)


class FormedOnce(nn.Module):
    """Mixin: weights that are made of parameters are kept while nothing is trained.

    They are made anew when a parameter was changed in place, when the mode is set (``train()``,
    ``eval()``), and when the module is moved or cast. What writes into ``parameter.data`` in
    evaluation mode has to call ``eval()`` after it. A graph of torch.compile cannot ask whether a
    parameter was changed and makes them at every pass.
    """

    _formed: dict[str, tuple[list[nn.Parameter], tuple, Tensor]] | None = None

    def formed(
        self,
        sources: Iterable[nn.Parameter],
        make: Callable[[], Tensor],
        also: Hashable = None,
        name: str = '',
    ) -> Tensor:
        """What ``make`` makes of the parameters ``sources`` and of what ``also`` says.

        ``name`` tells apart the weights of a module that forms several.
        """
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return make()
        gates = [group.gate for group in getattr(self, 'groups', {}).values()]
        sources = [*sources, *(gate for gate in gates if gate is not None)]
        state = also, [p._version for p in sources]
        kept = (self._formed or {}).get(name)
        same = kept is not None and len(kept[0]) == len(sources)
        if not (same and all(map(operator.is_, kept[0], sources)) and kept[1] == state):
            kept = sources, state, make()
            self._formed = {**(self._formed or {}), name: kept}
        return kept[2]

    def train(self, mode: bool = True) -> 'FormedOnce':
        self._formed = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self._formed = None
        return super()._apply(*args, **kwargs)


@torch.no_grad()
def effective_rank(weight: Tensor) -> Tensor:
    r"""Exponential of the entropy of the singular values (Roy and Vetterli, EUSIPCO 2007).

    .. math:: \exp\Big(-\sum_i p_i \log p_i\Big), \qquad p_i = \sigma_i \Big/ \sum_j \sigma_j

    Args:
        weight: ``(..., out, in)``.

    Returns:
        ``(...)``, from 1 to the smaller side; 0 of a weight that is 0.

    Example:
        >>> round(effective_rank(torch.eye(5)).item(), 6)
        5.0
    """
    # tall matrices have their values sooner than wide ones
    tall = weight if weight.shape[-2] >= weight.shape[-1] else weight.mT
    sigma = torch.linalg.svdvals(tall.double())
    total = sigma.sum(-1, keepdim=True)
    share = sigma / torch.where(total > 0, total, 1)
    entropy = -torch.special.xlogy(share, share).sum(-1)
    return torch.where(total[..., 0] > 0, entropy.exp(), 0)
