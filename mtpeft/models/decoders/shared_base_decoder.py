"""One base for the first head convolution of all tasks (Free Sinewich, arXiv 2603.21111)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn

from mtpeft.adapters import ClockNet
from mtpeft.adapters.formed_once import FormedOnce
from mtpeft.models.build import build_module
from mtpeft.models.decoders.multi_head_decoder import MultiHeadDecoder
from mtpeft.models.heads import HRNetHead
from mtpeft.ops.levels_conv import convolve_levels
from mtpeft.ops.modulation import modulate
from mtpeft.ops.norm_relu_conv import bias_before, norm_relu_conv
from mtpeft.registry import MODELS
from mtpeft.structures.levels import Features, by_task
from mtpeft.tasks import TaskSpec, build_tasks
from mtpeft.utils.kinds import Size
from mtpeft.utils.requested import requested_tasks


@MODELS.register_module()
class SharedBaseDecoder(FormedOnce, BaseModule):
    r"""The heads of HRNet with one shared first convolution, switched by each task's frequency.

    .. math:: h_t = \tilde M_t * \mathrm{concat}(\text{levels}_t) + b_t, \quad
              \tilde M_t = g\, ((1 - \ell)\, \delta + \ell\, G) * \sin(\omega_t M), \quad
              z_t = \mathrm{Conv}^t_{1 \times 1}(\mathrm{ReLU}(\mathrm{BN}^t(h_t)))

    M ``(channels, sum of widths, 1, 1)`` is a full matrix that all tasks share; a task has its
    bias, its norm and its last convolution. G and g are as in
    :class:`~mtpeft.adapters.sine_awb.SineAWB`. The low-pass has a learnt share l here, the sigmoid
    of a number that starts at 0: unlike a low-rank product M has a full rank, which the whole
    low-pass would halve (docs/methods/sinewich.md has what that costs). Levels are brought to the
    largest and concatenated, as in :class:`~mtpeft.models.heads.HRNetHead`. M starts uniform in
    +-1/sqrt(sum of widths).

    Args:
        tasks: The model's tasks.
        in_channels: Widths of the levels.
        channels: Width between the convolutions. Default: four times the sum of ``in_channels``.
        clock: Where frequencies come from: the backbone's ClockNet where the model builds the
            decoder, or the config of one of its own. ``None``: an own one.
        sine: ``False``: :math:`g\, G * (\omega_t M)`.
        lowpass: ``'learnt'``: as above; ``True``: l = 1, the low-pass as in the adapters;
            ``False``: l = 0, without G.
        gain: g. Default: 1 / sqrt(sum of widths).
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        KeyError: a task without a token.
        ValueError: ``lowpass`` is unknown.

    Example:
        >>> decoder = SharedBaseDecoder(tasks=['sal', 'depth'], in_channels=(4, 8))
        >>> logits = decoder((torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)))
        >>> {name: tuple(x.shape) for name, x in logits.items()}
        {'sal': (2, 1, 8, 8), 'depth': (2, 1, 8, 8)}
    """

    def __init__(
        self,
        tasks: TaskSpec,
        in_channels: Sequence[int],
        channels: Size | None = None,
        clock: ClockNet | Mapping | None = None,
        sine: bool = True,
        lowpass: bool | Literal['learnt'] = 'learnt',
        gain: float | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        built = build_tasks(tasks)
        self.tasks = tuple(built)
        self.in_channels = tuple(in_channels)
        total = sum(self.in_channels)
        channels = 4 * total if channels is None else channels
        self.sine = sine
        if lowpass not in (True, False, 'learnt'):
            raise ValueError(f"Expected lowpass to be True, False or 'learnt', got {lowpass!r}.")
        self.lowpass = lowpass
        self.gain = total**-0.5 if gain is None else gain
        if not isinstance(clock, ClockNet):
            own = dict(type='ClockNet', tasks=list(self.tasks), **(clock or {}))
            self.clock_net = clock = build_module(own)
        clock.check(self.tasks)
        self._clock = [clock]  # in a list: a backbone's clock is no module of the decoder
        self.site = clock.add_site(self, 'decoder')
        bound = total**-0.5
        self.base = nn.Parameter(torch.empty(channels, total, 1, 1).uniform_(-bound, bound))
        if lowpass == 'learnt':
            self.share = nn.Parameter(torch.zeros(()))
        self.bias = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) for name in built}
        )
        self.norm = ModuleDict({name: nn.BatchNorm2d(channels) for name in built})
        self.conv = ModuleDict(
            {name: nn.Conv2d(channels, task.channels, 1) for name, task in built.items()}
        )

    @property
    def clock(self) -> ClockNet:
        """Where the frequencies come from."""
        return self._clock[0]

    def matrix(self) -> Tensor:
        """M before the sine, ``(1, channels, sum of widths, 1, 1)``."""
        return self.base[None]

    def frequencies(self) -> Tensor:
        """omega_t ``(T,)``."""
        return self.clock.frequencies(self.tasks, self.site)

    def kernels(self) -> Tensor:
        """The first convolution of each task, ``(T, channels, sum of widths, 1, 1)``."""
        base, omega, options = self.matrix(), self.frequencies(), (self.gain, self.sine)
        if self.lowpass != 'learnt':
            return modulate(base, omega, *options, self.lowpass)
        sharp, smooth = (modulate(base, omega, *options, lowpass) for lowpass in (False, True))
        return torch.lerp(sharp, smooth, self.share.sigmoid().to(sharp))

    def forward(
        self, features: Features, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:  # fmt: skip
        """Logits ``(B, channels, h, w)`` by task, at the size of the largest level.

        Args:
            features: A tuple of levels ``(B, C, H, W)`` shared by all tasks, or one a task.
            tasks: Names of the tasks that are wanted, all by default.
        """
        streams = by_task(features, requested_tasks(tasks, self.tasks))
        # one row at a time would get its gradient in a stack of zeros each
        own = [getattr(self, name) for name in self._base_names]
        kernels = self.formed((*own, *self.clock.parameters()), self.kernels).unbind()
        logits = {}
        for name, levels in streams.items():
            kernel = kernels[self.tasks.index(name)]
            bias = bias_before(self.norm[name], self.bias[name])
            x = convolve_levels(levels, self.in_channels, kernel, bias)
            logits[name] = norm_relu_conv(x, self.norm[name], self.conv[name])
        return logits

    def formed_heads(self) -> MultiHeadDecoder:
        """The same function with a formed first convolution for each task, for inference.

        Norms and last convolutions are the decoder's own modules.
        """
        heads = {}
        for name, kernel in zip(self.tasks, self.kernels(), strict=True):
            channels, last = len(kernel), self.conv[name]
            head = HRNetHead(self.in_channels, channels, out_channels=last.out_channels)
            head.conv1.weight = nn.Parameter(kernel.detach().clone(), requires_grad=False)
            head.conv1.bias = nn.Parameter(self.bias[name].detach().clone(), requires_grad=False)
            head.norm, head.conv2 = self.norm[name], last
            heads[name] = head.train(self.training)
        return MultiHeadDecoder.of(heads)

    @property
    def _base_names(self) -> list[str]:
        return ['base', 'share'] if self.lowpass == 'learnt' else ['base']

    def parameter_components(self) -> dict[str, list[str]]:
        """Component of each parameter, see :mod:`mtpeft.models.components`."""
        names = [name for name, _ in self.named_parameters()]
        own = [name for name in names if name.startswith('clock_net.')]
        return {
            'shared_base': self._base_names,
            'task_tokens': [name for name in own if '.tokens.' in name],
            'clock_net': [name for name in own if '.tokens.' not in name],
            'heads': [n for n in names if n not in self._base_names and n not in own],
        }
