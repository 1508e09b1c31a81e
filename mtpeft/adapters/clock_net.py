"""Clock Net: the frequency of each task from its token (Free Sinewich, arXiv 2603.21111)."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.common import CommonModule
from mtpeft.registry import MODELS
from mtpeft.tasks import DenseTask
from mtpeft.utils.kinds import Size
from mtpeft.utils.suggest import hint

_TOKENS = ('free', 'prepend')
_PER = ('task', 'layer')


@MODELS.register_module()
class ClockNet(CommonModule):
    r"""A frequency for each task, and the task tokens they come from.

    .. math:: \omega_t = s\,\big(\tanh(W_q\,\mathrm{ReLU}(p_t)) + c\big)

    with p_t the task's token ``(C,)``; W_q ``(C,)``, s and c are learnt and shared by the tasks.
    So omega_t lies between s (c - 1) and s (c + 1), and depends on no picture. The paper does not
    print starts; here tokens are normal, so that the frequencies differ, and s and c such that a
    sine of weights leaves its linear regime and no frequency crosses 0 (docs/methods/sinewich.md).

    All adapters of a backbone, and a decoder, can share one ClockNet; each is a *site*.

    Args:
        tasks: The model's tasks, or their names.
        channels: C. With ``tokens='prepend'`` the width of the first stage.
        scale: s at the start.
        shift: c at the start.
        lcn: ``False``: free frequencies, :math:`\omega_t = s\,\theta_t` with s fixed and theta_t
            learnt, drawn from c +- .5.
        per: One frequency a ``'task'``, the same at all sites, or one a ``'layer'``: W_q, s and c
            (or theta) for each site. Tokens are shared in any case.
        tokens: ``'free'``: parameters beside the network. ``'prepend'``: they also go through the
            network before the patches, see :class:`~mtpeft.models.AdapterBackbone`.

    Raises:
        ValueError: an option is unknown or out of its range.

    Example:
        >>> clock = ClockNet(['semseg', 'depth'], channels=8)
        >>> clock.frequencies().shape
        torch.Size([2])
        >>> clock.bounds
        (15.0, 75.0)
    """

    def __init__(
        self,
        tasks: Iterable[str | DenseTask],
        channels: int = 96,
        scale: float = 30.0,
        shift: float = 1.5,
        lcn: bool = True,
        per: Literal['task', 'layer'] = 'task',
        tokens: Literal['free', 'prepend'] = 'free',
    ) -> None:
        super().__init__([t if isinstance(t, str) else t.name for t in tasks])
        for name, value, valid in (('per', per, _PER), ('tokens', tokens, _TOKENS)):
            if value not in valid:
                raise ValueError(f"{name}='{value}' is unknown. " + hint(str(value), valid))
        if not scale > 0 or not isinstance(channels, int) or channels < 1:
            raise ValueError(
                f'Expected a positive scale and number of channels, got {scale!r} and {channels!r}.'
            )
        self.channels = channels
        self.scale, self.shift = float(scale), float(shift)
        self.lcn = lcn
        self.per = per
        self.prepends = tokens == 'prepend'
        self.tokens = nn.ParameterDict()
        if lcn or self.prepends:
            self.tokens.update({task: nn.Parameter(torch.randn(channels)) for task in self.tasks})
        self.heads = nn.ModuleList()
        if per == 'task':
            self.heads.append(self._head())

    def _head(self) -> nn.Module:
        if self.lcn:
            return _Clock(self.channels, self.scale, self.shift)
        return _FreeFrequencies(self.tasks, self.scale, self.shift)

    def add_site(self, layer: nn.Module | None = None, name: str = '', block: str = '') -> int:
        """Announce a user of the frequencies; the number it asks with."""
        if self.per == 'layer':
            self.heads.append(self._head())
        return super().add_site(layer, name, block)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which frequencies lie at the start, for any tokens."""
        return self.scale * (self.shift - 1), self.scale * (self.shift + 1)

    def frequencies(self, tasks: Sequence[str] | None = None, site: int = 0) -> Tensor:
        """omega of ``tasks`` (all by default), in their order, ``(T,)``.

        Raises:
            KeyError: a task has no token.
        """
        names = self.tasks if tasks is None else tuple(tasks)
        self.check(names)
        head = self.heads[site if self.per == 'layer' else 0]
        # not under autocast: a sine of frequency times weight needs all digits
        with torch.autocast(next(head.parameters()).device.type, enabled=False):
            return head(names, self.tokens)

    def check(self, tasks: Sequence[str]) -> None:
        """Raise KeyError for a task without a token."""
        for task in tasks:
            if task not in self.tasks:
                raise KeyError(
                    f"ClockNet has no token for task '{task}', so it has no frequency. "
                    + hint(task, self.tasks)
                )

    def stacked_tokens(self) -> Tensor:
        """All tokens ``(T, C)``."""
        return torch.stack(list(self.tokens.values()))

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        names = [name for name, _ in self.named_parameters()]
        return {
            'task_tokens': [name for name in names if name.startswith('tokens.')],
            'clock_net': [name for name in names if not name.startswith('tokens.')],
        }

    def extra_repr(self) -> str:
        return f'tasks={list(self.tasks)}, per={self.per!r}, sites={len(self.sites)}'


class _Clock(nn.Module):
    """W_q, s and c."""

    def __init__(self, channels: Size, scale: float, shift: float) -> None:
        super().__init__()
        bound = channels**-0.5
        self.W_q = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.s = nn.Parameter(torch.tensor(scale))
        self.c = nn.Parameter(torch.tensor(shift))

    def forward(self, tasks: Sequence[str], tokens: nn.ParameterDict) -> Tensor:
        stacked = torch.stack([tokens[task] for task in tasks])
        return self.s * (torch.tanh(stacked.relu() @ self.W_q) + self.c)


class _FreeFrequencies(nn.Module):
    """One number a task, in units of the scale."""

    def __init__(self, tasks: Sequence[str], scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.theta = nn.ParameterDict(
            {task: nn.Parameter(shift + torch.rand(()) - 0.5) for task in tasks}
        )

    def forward(self, tasks: Sequence[str], tokens: nn.ParameterDict) -> Tensor:
        return self.scale * torch.stack([self.theta[task] for task in tasks])
