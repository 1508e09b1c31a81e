"""Sine-AWB: one shared base, switched by a task's frequency (Free Sinewich, arXiv 2603.21111)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters.base import NotMergeableError
from mtpeft.adapters.clock_net import ClockNet
from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.modulation import FormedOnce, modulate
from mtpeft.adapters.ranks import BASE, all_components
from mtpeft.registry import ADAPTERS
from mtpeft.utils.suggest import hint

_BASES = ('shared', 'independent')
_MEGABYTE = 2**20


@ADAPTERS.register_module()
class SineAWB(FormedOnce, LoRA):
    r"""Task lanes over one base whose sine is taken at the task's frequency.

    .. math:: M = B\,\mathrm{diag}(W)\,A, \qquad
              \tilde M_t = g\, G * \sin(\omega_t M), \qquad
              y_t = W_0 x_t + b + \tilde M_t x_t

    The factors are fused first: a sine of a product is no product of sines, and only the sine of
    the whole raises its rank. G is a Gaussian low-pass over the (out, in) plane, g a fixed gain,
    omega_t the frequency of a :class:`~mtpeft.adapters.clock_net.ClockNet`. With a kernel, W is
    ``(r, k, k)``, depthwise between A and B, and M ``(out, in, k, k)``. B starts at 0, so the start
    is the pretrained layer. The shared stream passes a LoRA (``A``, ``B``), which the lanes do not
    use.

    The weights of all lanes are made at once, once a pass, and are kept between passes while
    nothing is trained (evaluation mode, no gradients). They are full matrices: see ``limit``. With
    the layer's own kernel W0 is added to them, and a lane is one product. In training a Linear
    layer's are made when they are passed, and again in the backward pass: none is kept.

    Args:
        layer: The layer to adapt.
        tasks: Names of the task lanes.
        rank: Rank of the shared stream's LoRA.
        task_rank: Rank r of the base. Default: ``rank``.
        scale: Of the shared stream's LoRA.
        dropout: On the input of the shared stream's LoRA.
        kernel_size: ``None``: the layer's own (1 for Linear), so that a lane can be merged into
            the layer's weight. An odd number: a convolution of that size beside the layer, on the
            layer's map.
        base: ``'shared'``: one base for all tasks; ``'independent'``: one a task.
        sine: ``False``: :math:`g\, G * (\omega_t M)`.
        lowpass: ``False``: without G.
        gain: g. Default: 1 / sqrt(inputs of one output), as in Sine-LoRA.
        clock: Where the frequencies come from. ``None``: a ClockNet of its own. The backbone gives
            all its adapters the same.
        limit: Megabytes that the weights of all lanes may take.

    Raises:
        ValueError: a rank, kernel size or option does not fit, or the weights take too much.
        KeyError: a task without a token.

    Example:
        >>> adapter = SineAWB(nn.Linear(8, 4), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.kernels().shape
        torch.Size([2, 4, 8])
    """

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        rank: int = 16,
        task_rank: int | None = None,
        scale: float = 4.0,
        dropout: float = 0.0,
        kernel_size: int | None = None,
        base: str = 'shared',
        sine: bool = True,
        lowpass: bool = True,
        gain: float | None = None,
        clock: ClockNet | None = None,
        limit: float = 512,
    ) -> None:
        if base not in _BASES:
            raise ValueError(f"base='{base}' is unknown. " + hint(str(base), _BASES))
        self.kernel = _kernel(layer, kernel_size)
        self.base = base
        self.sine = sine
        self.lowpass = lowpass
        self.prefix_tokens = 0  # tokens before the patches, which a kernel leaves alone
        self.map_size: tuple[int, int] | None = None
        self._conv = isinstance(layer, nn.Conv2d)
        self._own_kernel = self.kernel == tuple(layer.weight.shape[2:])
        super().__init__(layer, tasks, rank, task_rank, scale, dropout)
        fan_in = layer.weight.shape[1] * math.prod(self.kernel)
        self.gain = fan_in**-0.5 if gain is None else gain
        if tasks:
            self._check_size(layer, limit)
            self._set_clock(clock)

    def _make_lanes(self, layer: nn.Module) -> None:
        weight, rank = layer.weight, self.task_rank
        independent = self.base == 'independent'
        if BASE in self.tasks:
            raise ValueError(f"a task cannot be called '{BASE}', as ranks of the base are")
        lead = (len(self.tasks),) if independent else ()
        prefix, kind = ('task', 'task') if independent else ('base', BASE)
        shapes = dict(A=(rank, weight.shape[1]), W=(rank, *self.kernel), B=(weight.shape[0], rank))
        names = [f'{prefix}_{factor}' for factor in shapes]
        for name, shape in zip(names, shapes.values(), strict=True):
            setattr(self, name, nn.Parameter(weight.new_empty(*lead, *shape)))
        if independent:
            self.task_parameters = {'sine_base': names}
        else:
            self.base_parameters = {'sine_base': names}
        # one masked or pruned factor takes a component out of M
        self.make_group(kind, dict(zip(names, (0, 0, 1), strict=True)), product=False)

    def reset_parameters(self) -> None:
        """A uniform in +-1/sqrt(in), B zero; W one, or uniform in +-1/k for a k x k kernel."""
        super().reset_parameters()
        if not self.tasks:
            return
        a, w, b = self._factors()
        nn.init.uniform_(a, -(a.shape[-1] ** -0.5), a.shape[-1] ** -0.5)
        nn.init.zeros_(b)
        bound = math.prod(self.kernel) ** -0.5
        if math.prod(self.kernel) == 1:
            nn.init.ones_(w)
        else:
            nn.init.uniform_(w, -bound, bound)

    def _factors(self) -> list[nn.Parameter]:
        return list(self.groups[BASE if self.base == 'shared' else 'task'].parameters.values())

    def _check_size(self, layer: nn.Module, limit: float) -> None:
        numbers = len(self.tasks) * layer.weight.shape[0] * layer.weight.shape[1]
        size = numbers * math.prod(self.kernel) * layer.weight.element_size() / _MEGABYTE
        if size > limit:
            smaller = 'kernel_size=1, ' if self._grows else ''
            raise ValueError(
                f'the weights of {len(self.tasks)} lanes take {size:,.0f} MB, expected at most '
                f'limit={limit:g}. Use {smaller}another adapter for this layer (a plugin of its '
                'own, with exclude here), or a higher limit'
            )

    @property
    def _grows(self) -> bool:
        return math.prod(self.kernel) > 1 and not self._own_kernel

    def _set_clock(self, clock: ClockNet | None) -> None:
        if clock is None:
            self.clock_net = clock = ClockNet(self.tasks)
            names = [f'clock_net.{name}' for name, _ in clock.named_parameters()]
            self.base_parameters = {**self.base_parameters, 'clock_net': names}
        clock.check(self.tasks)
        # in a list: the ClockNet of a backbone is not this adapter's, nor are its keys
        self._clock = [clock]
        self.site = clock.add_site()

    @property
    def clock(self) -> ClockNet:
        """Where the frequencies come from."""
        return self._clock[0]

    # -- weights -------------------------------------------------------------------------------

    def matrix(self) -> Tensor:
        """M before the sine, ``(1 or T, out, in[, k, k])``, without pruned components."""
        kind = BASE if self.base == 'shared' else 'task'
        factors = self.groups[kind].effective().values()
        return self._fused(*(f[None] if self.base == 'shared' else f for f in factors))

    def _fused(self, a: Tensor, w: Tensor, b: Tensor) -> Tensor:
        # the fused matrix meets a large frequency: bfloat16 would be coarse
        with torch.autocast(a.device.type, enabled=False):
            if not self.kernel:
                return (b * w[:, None]) @ a
            taps = a[..., None] * w.flatten(2)[:, :, None]
            return (b @ taps.flatten(2)).view(len(b), b.shape[1], a.shape[2], *self.kernel)

    def frequencies(self) -> Tensor:
        """omega_t of the lanes ``(T,)``."""
        return self.clock.frequencies(self.tasks, self.site)

    def kernels(self, weight: Tensor | None = None) -> Tensor:
        """What each lane adds to the frozen layer, or to ``weight``, ``(T, out, in[, k, k])``."""
        options = self.gain, self.sine, self.lowpass, weight
        return modulate(self.matrix(), self.frequencies(), *options)

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        if self._formed_again(layer):
            own = {} if self.base == 'shared' else self.groups['task'].effective()
            return {**own, 'omega': self.frequencies()}
        sources = (*self._factors(), *self.clock.parameters(), layer.weight)
        ranks = tuple(self.ranks().values())
        weight = layer.weight if self._own_kernel else None
        return {'weight': self.formed(sources, lambda: self.kernels(weight), ranks)}

    def lane_constants(self, layer: nn.Module) -> dict[str, Tensor]:
        if self._formed_again(layer) and self.base == 'shared':
            return {'base': self.matrix()[0]}
        return {}

    def _formed_again(self, layer: nn.Module) -> bool:
        """Is a lane's weight formed where it is passed, and again in the backward pass?"""
        trains = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        return trains and self._own_kernel and layer.forms_again

    def _lane_weights(self, frozen: Tensor, omega: Tensor, *base: Tensor) -> Tensor:
        """From one base of all lanes, or from the factors of each."""
        m = base[0] if len(base) == 1 else self._fused(*base)
        return modulate(m, omega, self.gain, self.sine, self.lowpass, frozen[0])

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if task is None:
            return super().delta_weight(layer)
        return self._mergeable_kernels(task)[self.task_index(task)]

    def task_weights(self, layer: nn.Module) -> Tensor:
        # one pass makes the kernels of all lanes
        return layer.weight + self._mergeable_kernels(self.tasks[0])

    def _mergeable_kernels(self, task: str) -> Tensor:
        if not self._own_kernel:
            raise NotMergeableError(
                f"The lane of '{task}' convolves with a kernel of {self.kernel} beside a layer "
                'with another one; only kernel_size=None (or the same) can be merged.'
            )
        with all_components(self):
            return self.kernels()

    @property
    def needs_map(self) -> bool:
        return bool(self.tasks) and not self._own_kernel and not self._conv

    def set_map(self, size: tuple[int, int], prefix: int) -> None:
        """Of which map (H, W) the tokens ``(B, prefix + H W, C)`` of the next pass are."""
        self.map_size, self.prefix_tokens = size, prefix

    # -- streams -------------------------------------------------------------------------------

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        if 'omega' in params:
            base = [tensor for name, tensor in params.items() if name != 'omega']
            sources = layer.weight, params['omega'], *base
            return layer.convolve_formed_again(x, self._lane_weights, sources, layer.bias)
        if self._own_kernel:
            return layer.convolve(x, params['weight'], layer.bias)
        return layer.frozen(x) + self._convolve(layer, x, params['weight'])

    def _convolve(self, layer: nn.Module, x: Tensor, kernel: Tensor) -> Tensor:
        padding = [k // 2 for k in self.kernel]
        if isinstance(layer, nn.Conv2d):
            return F.conv2d(x, kernel, stride=layer.stride, padding=padding)
        grid = self._grid(x)
        patches = x if x.ndim == 4 else x[:, self.prefix_tokens :].unflatten(1, grid)
        out = F.conv2d(patches.movedim(-1, 1), kernel, padding=padding).movedim(1, -1)
        if x.ndim == 4:
            return out
        return F.pad(out.flatten(1, 2), (0, 0, self.prefix_tokens, 0))

    def _grid(self, x: Tensor) -> tuple[int, int]:
        size = self.map_size
        if x.ndim == 4 or (
            x.ndim == 3 and size and x.shape[1] - self.prefix_tokens == math.prod(size)
        ):
            return tuple(x.shape[1:3]) if x.ndim == 4 else size
        raise ValueError(
            f'kernel_size={self.kernel[0]} needs a map: expected (B, H, W, C), or (B, H W, C) of a '
            f'known map, got {tuple(x.shape)} with map {size}. Layers inside attention see windows '
            'or tokens without a place; use kernel_size=None for them.'
        )

    def extra_repr(self) -> str:
        options = f', base={self.base!r}, sine={self.sine}, lowpass={self.lowpass}'
        return super().extra_repr() + (options if self.tasks else '')


def _kernel(layer: nn.Module, size: int | None) -> tuple[int, ...]:
    """Kernel of M: ``()`` for a matrix."""
    own = tuple(layer.weight.shape[2:])
    if size is None or own == (size, size) or (size == 1 and not own):
        return own
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise ValueError(f'expected kernel_size to be an odd number or None, got {size!r}')
    if isinstance(layer, nn.Conv2d) and own != (1, 1):
        raise ValueError(
            f"expected kernel_size=None, the layer's own {own[0]} x {own[1]}, or a layer of 1 x 1 "
            f'beside which a kernel of {size} can lie; got kernel_size={size}'
        )
    return size, size
