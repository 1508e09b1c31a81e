"""Sine-AWB: one shared base, switched by a task's frequency (Free Sinewich, arXiv 2603.21111)."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters.base import Coupling, NotMergeableError, Unstacked, matrix_shape
from mtpeft.adapters.clock_net import ClockNet
from mtpeft.adapters.common import SharesAcrossLayers, Site
from mtpeft.adapters.formed_once import FormedOnce
from mtpeft.adapters.lanes.on_map import OnMap
from mtpeft.adapters.layers import autocast
from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.ranks.low_rank import BASE, SHARED, all_components
from mtpeft.ops.conv_formed_again import Geometry, conv_formed_again
from mtpeft.ops.linear_formed_again import forms_again
from mtpeft.ops.modulation import modulate
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Range, Share, Size
from mtpeft.utils.suggest import hint

_BASES = ('shared', 'independent')
_REUSES = ('A', 'B', 'both')
_MEGABYTE = 2**20


@ADAPTERS.register_module()
class SineAWB(OnMap, SharesAcrossLayers, FormedOnce, LoRA):
    r"""Task lanes over one base whose sine is taken at the task's frequency.

    .. math:: M = B\,\mathrm{diag}(W)\,A, \qquad
              \tilde M_t = g\, G * \sin(\omega_t M), \qquad
              y_t = f(x_t) + \tilde M_t * x_t

    f is what is adapted: a layer, or a whole module such as an MLP or a block. W
    ``(r, k, k)`` is a convolution's kernel, depthwise between A and B, and M ``(out, in, k, k)``:
    what the tasks add sees the neighbourhood of a pixel. The factors are fused first: a sine of a
    product is no product of sines, and only the sine of the whole raises its rank. G is a Gaussian
    low-pass over the (out, in) plane, g a fixed gain, omega_t the frequency of a
    :class:`~mtpeft.adapters.clock_net.ClockNet`. B starts at 0, so the start is the pretrained
    layer. The shared stream passes a layer with a LoRA (``A``, ``B``), and a module as it is.

    The weights of all lanes are made at once, once a pass, and are kept between passes while
    nothing is trained (evaluation mode, no gradients). They are full matrices: see ``limit``. With
    the layer's own kernel W0 is added to them, and a lane is one product. In training they
    are made when they are passed, and again in the backward pass: none is kept.

    Args:
        layer: The layer, or the module with layers inside, to adapt.
        tasks: Names of the task lanes.
        rank: Rank of the shared stream's LoRA.
        task_rank: Rank r of the base. Default: ``rank``.
        scale: Of the shared stream's LoRA.
        dropout: On the input of the shared stream's LoRA.
        kernel_size: k, an odd number: a convolution of that size on the layer's map. ``None``: the
            layer's own kernel (1 for Linear and for modules), so that a lane of a layer can be
            merged into its weight.
        base: ``'shared'``: one base for all tasks; ``'independent'``: one a task.
        reuse: Which factor of the layer's shared LoRA is the base's as well: ``'A'``, ``'B'``,
            ``'both'``, or ``None``: the base has its own.
        sine: ``False``: :math:`g\, G * (\omega_t M)`.
        lowpass: ``False``: without G.
        gain: g. Default: 1 / sqrt(inputs of one output), as in Sine-LoRA.
        clock: Where the frequencies come from. ``None``: a ClockNet of its own. The backbone gives
            all its adapters the same.
        site: Where the layer is in the network.
        limit: Megabytes that the weights of all lanes may take.

    Raises:
        ValueError: a rank, kernel size or option does not fit, or the weights take too much.
        KeyError: a task without a token.

    Example:
        >>> adapter = SineAWB(nn.Linear(8, 4), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.kernels().shape
        torch.Size([2, 4, 8, 3, 3])
    """

    beside_modules = True
    without_map = 'kernel_size=None'
    common_option = 'clock'
    own_name = 'clock_net'

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        rank: Size = 16,
        task_rank: Size | None = None,
        scale: float = 4.0,
        dropout: Share = 0.0,
        kernel_size: Size | None = 3,
        base: Literal['shared', 'independent'] = 'shared',
        reuse: Literal['A', 'B', 'both'] | None = None,
        sine: bool = True,
        lowpass: bool = True,
        gain: float | None = None,
        clock: ClockNet | None = None,
        site: Site | None = None,
        limit: Annotated[float, Range(0, infinite=True)] = 512,
    ) -> None:
        if base not in _BASES:
            raise ValueError(f"base='{base}' is unknown. " + hint(str(base), _BASES))
        self.beside = not isinstance(layer, (nn.Linear, nn.Conv2d))
        self.reuse = _reuse(reuse, base, rank, task_rank, self.beside)
        self.kernel = _kernel(layer, kernel_size)
        self.base = base
        self.sine = sine
        self.lowpass = lowpass
        self._conv = isinstance(layer, nn.Conv2d)
        self._own_kernel = not self.beside and self.kernel == tuple(layer.weight.shape[2:])
        super().__init__(layer, tasks, rank, task_rank, scale, dropout)
        if self.beside:
            # a lane with the same input is the module's output and what its task adds
            self.coupling = Coupling(while_same=True)
        self.convolves = f'kernel_size={self.kernel[0] if self.kernel else None}'
        self.widths = _widths(layer)
        fan_in = self.widths[1] * math.prod(self.kernel)
        self.gain = fan_in**-0.5 if gain is None else gain
        if tasks:
            self._check_size(limit)
            self.join(layer, clock, site, {})
            self.clock.check(self.tasks)

    def _make_shared(self, layer: nn.Module) -> None:
        if not self.beside:
            super()._make_shared(layer)

    def _make_lanes(self, layer: nn.Module) -> None:
        (out, inner), rank = _widths(layer), self.task_rank
        independent = self.base == 'independent'
        if BASE in self.tasks:
            raise ValueError(f"a task cannot be called '{BASE}', as ranks of the base are")
        lead = (len(self.tasks),) if independent else ()
        prefix, kind = ('task', 'task') if independent else ('base', BASE)
        like = next(layer.parameters())
        shapes = dict(A=(rank, inner), W=(rank, *self.kernel), B=(out, rank))
        reused = {'A', 'B'} if self.reuse == 'both' else {self.reuse}
        self._names = {f: f if f in reused else f'{prefix}_{f}' for f in shapes}
        own = [name for factor, name in self._names.items() if factor not in reused]
        for factor, name in self._names.items():
            if name in own:
                setattr(self, name, nn.Parameter(like.new_empty(*lead, *shapes[factor])))
        axes = dict(zip(self._names.values(), (0, 0, 1), strict=True))
        if self.reuse:
            self._join_shared(own, axes)
        elif independent:
            self.task_parameters = {'sine_base': own}
            self.make_group(kind, axes, product=False)
        else:
            self.base_parameters = {'sine_base': own}
            # one masked or pruned factor takes a component out of M
            self.make_group(kind, axes, product=False)

    def _join_shared(self, own: Sequence[str], axes: dict[str, int]) -> None:
        """One group of components for the shared stream and the base, which have a factor alike.

        That factor is the last: with its component masked, it is gone from both.
        """
        reused = [name for name in ('A', 'B') if name in axes]
        axes = {**{name: axis for name, axis in dict(A=0, B=1).items() if name not in axes}, **axes}
        last = reused[-1]
        axes = {**{name: axis for name, axis in axes.items() if name != last}, last: axes[last]}
        left = [name for name in ('A', 'B') if name not in reused]
        self.shared_parameters = {'lora_shared': left} if left else {}
        self.base_parameters = {'sine_base': list(own), 'lora_shared': reused}
        self.make_group(SHARED, axes, product=False)

    def without_shared(self) -> None:
        if self.beside:
            raise ValueError(
                'SineAWB beside a module adds its lanes to a shared stream of its block, and '
                "streams='network' has none; use streams='stage', or target layers"
            )
        if self.reuse:
            raise ValueError(
                f"reuse='{self.reuse}' ties the base to the shared stream's LoRA, and "
                "streams='network' has none; use reuse=None"
            )
        super().without_shared()

    def reset_parameters(self) -> None:
        """A uniform in +-1/sqrt(in), B zero; W one, or uniform in +-1/k for a k x k kernel."""
        super().reset_parameters()
        if not self.tasks:
            return
        a, w, b = self._factors()
        if self.reuse not in ('A', 'both'):
            nn.init.uniform_(a, -(a.shape[-1] ** -0.5), a.shape[-1] ** -0.5)
        nn.init.zeros_(b)
        bound = math.prod(self.kernel) ** -0.5
        if math.prod(self.kernel) == 1:
            nn.init.ones_(w)
        else:
            nn.init.uniform_(w, -bound, bound)

    def _factors(self) -> list[nn.Parameter]:
        return [getattr(self, name) for name in self._names.values()]

    def _check_size(self, limit: float) -> None:
        numbers = len(self.tasks) * math.prod(self.widths) * math.prod(self.kernel)
        size = numbers * self._factors()[0].element_size() / _MEGABYTE
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

    @classmethod
    def make_common(cls, cfg: Mapping, tasks: Sequence[str]) -> ClockNet:
        return ClockNet(tasks)

    @property
    def clock(self) -> ClockNet:
        """Where the frequencies come from."""
        return self.common

    # -- weights -------------------------------------------------------------------------------

    @property
    def _kind(self) -> str:
        """The group that the base's components are in."""
        return SHARED if self.reuse else BASE if self.base == 'shared' else 'task'

    def _effective(self) -> list[Tensor]:
        """A, W and B of the base as this pass uses them."""
        factors = self.groups[self._kind].effective()
        return [factors[name] for name in self._names.values()]

    def factors(self, task: str | None = None) -> list[Tensor]:
        if task is None:
            both = self.group_of(None).stream_factors(SHARED)
            return [both['A'], both['B']]
        return super().factors(task)

    def matrix(self) -> Tensor:
        """M before the sine, ``(1 or T, out, in[, k, k])``, without pruned components."""
        return self._fused(*(f[None] if self.base == 'shared' else f for f in self._effective()))

    def _fused(self, a: Tensor, w: Tensor, b: Tensor) -> Tensor:
        # the fused matrix meets a large frequency: bfloat16 would be coarse
        with torch.autocast(a.device.type, enabled=False):
            if not self.kernel:
                return (b * w[:, None]) @ a
            # (the shared LoRA of a convolution has a kernel of its own in A)
            a = a if a.ndim > 3 else a[..., None, None]
            taps = a * w[:, :, None]
            return (b @ taps.flatten(2)).view(len(b), b.shape[1], a.shape[2], *self.kernel)

    def frequencies(self) -> Tensor:
        """omega_t of the lanes ``(T,)``."""
        return self.clock.frequencies(self.tasks, self.site)

    def kernels(self, weight: Tensor | None = None) -> Tensor:
        """What each lane adds to the frozen layer, or to ``weight``, ``(T, out, in[, k, k])``."""
        options = self.gain, self.sine, self.lowpass, weight
        return modulate(self.matrix(), self.frequencies(), *options)

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor | Unstacked]:
        if forms_again():
            omega = self.frequencies()
            if self.base == 'shared':  # stacked, its gradient would be as large as all weights
                return {'omega': omega, 'base': Unstacked(self.matrix()[0])}
            return {'omega': omega, **dict(zip('awb', self._effective(), strict=True))}
        sources, ranks = (*self._factors(), *self.clock.parameters()), tuple(self.ranks().values())
        weight = layer.weight if self._own_kernel else None
        sources = sources if weight is None else (*sources, weight)
        return {'weight': self.formed(sources, lambda: self.kernels(weight), ranks)}

    def _formed_kernels(self, omega: Tensor, *base: Tensor, frozen: Tensor | None = None) -> Tensor:
        """From one base of all lanes, or from the factors of each; with ``frozen``, added to it."""
        m = base[0] if len(base) == 1 else self._fused(*base)
        return modulate(m, omega, self.gain, self.sine, self.lowpass, frozen)

    def _formed_weights(self, frozen: Tensor, *sources: Tensor) -> Tensor:
        return self._formed_kernels(*sources, frozen=frozen[0])

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        if self.beside:
            raise NotMergeableError('What stands beside a module is in no weight of it.')
        if task is None:
            return super().delta_weight(layer)
        return self._mergeable_kernels(task)[self.task_index(task)]

    def task_weights(self, layer: nn.Module) -> Tensor:
        kernels = self._mergeable_kernels(self.tasks[0])  # one pass makes those of all lanes
        return layer.weight + kernels

    def _mergeable_kernels(self, task: str) -> Tensor:
        if self.beside:
            raise NotMergeableError('What stands beside a module is in no weight of it.')
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

    # -- streams -------------------------------------------------------------------------------

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.beside:
            return super().shared_and_memory(layer, x)
        out = layer.frozen(x)
        # a lane with the same input is this and what its task adds
        return out, out if self.tasks else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        # the weight, or what it is formed of
        formed_of = [params[name] for name in ('omega', 'base', *'awb') if name in params]
        kernel = formed_of or params['weight']
        if self._own_kernel and isinstance(kernel, Tensor):
            return layer.convolve(x, kernel, layer.bias)
        if self._own_kernel:
            sources = layer.weight, *kernel
            return layer.convolve_formed(x, self._formed_weights, sources, layer.bias)
        passed = layer.frozen(x) if memory is None else memory
        change = self._beside(layer, x, kernel, passed)
        if passed.shape != change.shape:
            raise ValueError(
                f'{type(layer).__name__} changes the size of its map: expected '
                f'{tuple(change.shape)}, got {tuple(passed.shape)}. Nothing can be added to it; '
                'target layers inside.'
            )
        return passed + change

    def _beside(
        self, layer: nn.Module, x: Tensor, kernel: Tensor | Sequence[Tensor], like: Tensor
    ) -> Tensor:
        """A kernel, or what it is formed of, over the map of ``x``, at the size of ``like``."""
        x, stride = autocast(x), (1, 1)
        if isinstance(layer, nn.Conv2d):
            return self._convolve(x, kernel, layer.stride)
        if self.beside and x.ndim == 4 and not layer.channels_last:
            stride = [-(-a // b) for a, b in zip(x.shape[2:], like.shape[2:], strict=True)]
            return self._convolve(x, kernel, stride)
        patches = self.patches(x).movedim(-1, 1)
        return self.tokens(self._convolve(patches, kernel, stride).movedim(1, -1), x)

    def _convolve(
        self, x: Tensor, kernel: Tensor | Sequence[Tensor], stride: Sequence[int]
    ) -> Tensor:
        geometry = Geometry(stride, [k // 2 for k in self.kernel])
        if isinstance(kernel, Tensor):
            # under vmap a CPU's autocast does not know the convolution
            return F.conv2d(x, kernel.to(x.dtype), None, *geometry)
        return conv_formed_again(x, None, self._formed_kernels, geometry, *kernel)

    def extra_repr(self) -> str:
        options = f', base={self.base!r}, sine={self.sine}, lowpass={self.lowpass}'
        return super().extra_repr() + (options if self.tasks else '')


def _widths(layer: nn.Module) -> tuple[int, int]:
    """Channels out of a layer or module and into it."""
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels, layer.in_channels
    return matrix_shape(layer)


def _reuse(
    reuse: str | None, base: str, rank: int, task_rank: int | None, beside: bool
) -> str | None:  # fmt: skip
    """``reuse``, checked."""
    if reuse is None:
        return None
    if reuse not in _REUSES:
        raise ValueError(f"reuse='{reuse}' is unknown. " + hint(str(reuse), _REUSES))
    if beside:
        raise ValueError(
            f"reuse='{reuse}' takes a factor of the layer's shared LoRA, and a module has none; "
            'use reuse=None, or target layers'
        )
    if base == 'independent':
        raise ValueError(
            f"reuse='{reuse}' and base='independent' exclude each other: factors that all tasks "
            'share are not independent'
        )
    if task_rank not in (None, rank):
        raise ValueError(
            f"reuse='{reuse}' gives the base the rank of the shared LoRA, {rank}; expected "
            f'task_rank to be the same or None, got {task_rank}'
        )
    return reuse


def _kernel(layer: nn.Module, size: int | None) -> tuple[int, ...]:
    """Kernel of M: ``()`` for a matrix."""
    beside = not isinstance(layer, (nn.Linear, nn.Conv2d))
    own = (1, 1) if beside else tuple(layer.weight.shape[2:])
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
