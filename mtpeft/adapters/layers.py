"""Layers that adopt a frozen layer's weight and pass streams through an adapter."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter
from mtpeft.adapters.lanes.current import now, within
from mtpeft.ops.conv_formed_again import Geometry, conv_formed_again
from mtpeft.ops.dropout import draws_again, dropout
from mtpeft.ops.dropped_low_rank_add import dropped_low_rank_add
from mtpeft.ops.formed_linear import best_form, formed_linear
from mtpeft.ops.linear_formed_again import Make, forms_again, linear_formed_again
from mtpeft.ops.low_rank_add import low_rank_add
from mtpeft.ops.plain import plain_ops
from mtpeft.utils.torch_private import is_batched, itself

_HALVES = (torch.float16, torch.bfloat16)


class AdapterLayer:
    """Mixin: a layer with an adapter beside it, swapped in for the original.

    The layer takes over everything of the original, its ``weight`` and ``bias`` Parameters under
    their own names included, so no key of a state dict changes; the adapter's parameters are
    added below ``adapter.``.

    Attributes:
        adapter: The :class:`~mtpeft.adapters.base.Adapter`.
    """

    adapter: Adapter

    @classmethod
    def adopt(cls, layer: nn.Module) -> 'AdapterLayer':
        """A layer of this class that shares all state of ``layer``."""
        new = cls.__new__(cls)
        new.__dict__.update(layer.__dict__)
        new.__dict__['_modules'] = dict(layer._modules)
        return new

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        own = f'{prefix}adapter.'
        if f'{prefix}weight' in state_dict and not any(k.startswith(own) for k in state_dict):
            # weights of the plain network: the adapter starts from them
            self.adapter.reset_from_weight(self)

    def frozen(self, x: Tensor) -> Tensor:
        """The original layer: ``W0 x + b``."""
        return super().forward(x)

    def low_rank(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """``B A x`` with this layer's geometry; ``a`` ``(r, in[, k, k])``, ``b`` ``(out, r)``."""
        raise TypeError(f'{type(self).__name__} defines no low-rank product.')

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``W x`` (``+ b``) with this layer's geometry and another weight of its shape."""
        raise TypeError(f'{type(self).__name__} defines no product with another weight.')

    def convolve_formed(
        self, x: Tensor, make: Make, sources: Sequence[Tensor], bias: Tensor | None = None
    ) -> Tensor:
        """:meth:`convolve` with the weight that ``make`` makes of ``sources``.

        ``make`` has the contract of :func:`~mtpeft.ops.linear_formed_again.linear_formed_again`,
        which a layer in training calls: it makes the weight again in the backward pass.
        """
        if forms_again():
            x = autocast(x)
            bias = None if bias is None else bias.to(x.dtype)
            return self._convolve_again(x, make, sources, bias)
        weight = make(*(source[None] for source in sources))[0]
        return self.convolve(x, weight.to(x.dtype), bias)

    def _convolve_again(
        self, x: Tensor, make: Make, sources: Sequence[Tensor], bias: Tensor | None
    ) -> Tensor:
        raise TypeError(f'{type(self).__name__} defines no product with another weight.')

    def adapted(
        self,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        scale: float,
        gain: Tensor | None = None,
        lanes: int = 1,
    ) -> Tensor:
        """``diag(gain) (W0 + scale B A) x + bias``.

        Args:
            x: The layer's input.
            a: A ``(r, in[, k, k])``.
            b: B ``(out, r)``.
            scale: Of the product B A.
            gain: ``(out,)``, ``None`` for 1.
            lanes: How many lanes are mapped, where this runs under ``torch.vmap``.
        """
        form = self._form(x, a, gain, lanes)
        if form == 'plain':
            return self.side_by_side(self.frozen(x), x, a, b, scale, gain)
        return formed_linear(x, self.weight, self.bias, a, b, gain, scale, form == 'thin')

    def _form(self, x: Tensor, a: Tensor, gain: Tensor | None, lanes: int) -> str:
        """The cheapest of the forms that this pass may take, see :func:`best_form`."""
        return 'plain'

    def side_by_side(
        self,
        frozen: Tensor,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        scale: float,
        gain: Tensor | None = None,
        drop: float = 0.0,
    ) -> Tensor:
        """``gain * (frozen - bias + scale B A x) + bias``, without rounding where the gain is 1.

        Args:
            frozen: What came out of the frozen layer, its bias included.
            x: Input of the low-rank product.
            a: A ``(r, in[, k, k])``.
            b: B ``(out, r)``.
            scale: Of the product B A.
            gain: ``(out,)``, ``None`` for 1.
            drop: Share of x that dropout drops.
        """
        return self.scaled(self._added(frozen, x, a, b, scale, drop), gain)

    def scaled(self, out: Tensor, gain: Tensor | None) -> Tensor:
        """``gain * (out - bias) + bias``; of an output with its bias included."""
        if gain is None:
            return out
        shape = (-1, *[1] * (self.weight.ndim - 2))
        scaled = out * gain.view(shape)
        if self.bias is not None:
            scaled = scaled + ((1 - gain) * self.bias).view(shape)
        return scaled.to(out.dtype)

    def _added(
        self, frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, drop: float = 0.0
    ) -> Tensor:
        return frozen + scale * self.low_rank(dropout(x, drop), a, b)

    def forward(self, x: Tensor) -> Tensor:
        stream, layer = now.stream, itself(self)
        if stream is None or layer not in stream.carries:
            return self.adapter(self, x)
        return stream(layer, x)


class AdapterLinear(AdapterLayer, nn.Linear):
    """A Linear layer with an adapter; ``(..., in) -> (..., out)``.

    Example:
        >>> import torch
        >>> from mtpeft.adapters import LoRA, adapt_layer
        >>> layer = adapt_layer(nn.Linear(8, 4), dict(type='LoRA', rank=2))
        >>> layer(torch.ones(3, 8)).shape
        torch.Size([3, 4])
    """

    #: Nobody changes this layer's output in place, so it may be kept for the backward pass. A
    #: backbone whose family is known says so; alone, a layer is careful.
    output_stays = False

    def low_rank(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return F.linear(F.linear(x, a), b)

    def _added(
        self, frozen: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float, drop: float = 0.0
    ) -> Tensor:
        x = autocast(x)
        if x.ndim < 2 or x.dtype != frozen.dtype or plain_ops():
            return super()._added(frozen, x, a, b, scale, drop)
        if 0 < drop < 1 and draws_again():
            return dropped_low_rank_add(frozen, x, a, b, scale, drop)
        return low_rank_add(frozen, dropout(x, drop), a, b, scale)

    def _form(self, x: Tensor, a: Tensor, gain: Tensor | None, lanes: int) -> str:
        # a weight that is itself trained gets its gradient from the frozen layer
        trained = self.weight.requires_grad and torch.is_grad_enabled()
        # what a form costs was measured in float32, and in half precision it rounds otherwise
        half = x.dtype in _HALVES or torch.is_autocast_enabled(x.device.type)
        if x.ndim < 2 or trained or half or x.dtype != self.weight.dtype or plain_ops():
            return 'plain'
        return best_form(
            rows=x.numel() // x.shape[-1],
            inner=self.in_features,
            outer=self.out_features,
            rank=len(a),
            gain=gain is not None,
            lanes=lanes,
            same_input=lanes > 1 and not is_batched(x),
            grad=torch.is_grad_enabled(),
            output_stays=self.output_stays,
        )

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)

    def _convolve_again(
        self, x: Tensor, make: Make, sources: Sequence[Tensor], bias: Tensor | None
    ) -> Tensor:
        return linear_formed_again(x, bias, make, *sources)


def autocast(x: Tensor) -> Tensor:
    """``x`` in the type that autocast would take it to."""
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype in (torch.float32, *_HALVES):
        return x.to(torch.get_autocast_dtype(device))
    return x


class AdapterConv2d(AdapterLayer, nn.Conv2d):
    """A convolution (``groups=1``) with an adapter; ``(B, in, H, W) -> (B, out, H', W')``.

    In a low-rank product A has the layer's kernel, stride, padding and dilation, B is 1 x 1.
    """

    def low_rank(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return F.conv2d(self.convolve(x, a), b[:, :, None, None])

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self._conv_forward(x, weight, bias)

    def _convolve_again(
        self, x: Tensor, make: Make, sources: Sequence[Tensor], bias: Tensor | None
    ) -> Tensor:
        padding = self.padding
        if isinstance(padding, str) or self.padding_mode != 'zeros':
            mode = 'constant' if self.padding_mode == 'zeros' else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode)
            padding = (0, 0)
        geometry = Geometry(self.stride, padding, self.dilation)
        return conv_formed_again(x, bias, make, geometry, *sources)


class AdapterConv2dSame(AdapterLayer, Conv2dSame):
    """timm's convolution with TensorFlow padding, with an adapter."""

    def low_rank(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return F.conv2d(self.convolve(x, a), b[:, :, None, None])

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        x = pad_same(x, weight.shape[-2:], self.stride, self.dilation)
        return F.conv2d(x, weight, bias, self.stride, 0, self.dilation)

    def _convolve_again(
        self, x: Tensor, make: Make, sources: Sequence[Tensor], bias: Tensor | None
    ) -> Tensor:
        x = pad_same(x, self.weight.shape[-2:], self.stride, self.dilation)
        geometry = Geometry(self.stride, dilation=self.dilation)
        return conv_formed_again(x, bias, make, geometry, *sources)


class AdapterModule(AdapterLayer):
    """Mixin: any module, such as an MLP or a whole block, with an adapter beside it.

    .. math:: y_t = f(x_t) + \\Delta_t(x_t)

    What is adapted is the whole module, so there is no weight of its own: an adapter reads the
    widths with :func:`mtpeft.adapters.base.matrix_shape`.

    Attributes:
        channels_last: Maps ``(B, H, W, C)`` instead of ``(B, C, H, W)`` pass it.
    """

    channels_last = True

    def frozen(self, x: Tensor) -> Tensor:
        """The module itself, with what it takes besides its input in this pass."""
        args, options = now.rest.get(id(itself(self)), ((), {}))
        return super(AdapterLayer, self).forward(x, *args, **options)

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        if not (args or options):
            return super().forward(x)
        with within(rest={**now.rest, id(itself(self)): (args, options)}):
            return super().forward(x)

    @classmethod
    def of(cls, module: nn.Module) -> 'AdapterModule':
        """``module`` with room for an adapter; its class is one of both."""
        return _module_class(type(module)).adopt(module)

    def __reduce__(self) -> tuple:
        plain = type(self).__bases__[1]
        return _new_adapter_module, (plain,), self.__dict__


@cache
def _module_class(plain: type[nn.Module]) -> type[AdapterModule]:
    return type(f'Adapter{plain.__name__}', (AdapterModule, plain), {'__module__': __name__})


def _new_adapter_module(plain: type[nn.Module]) -> AdapterModule:
    kind = _module_class(plain)
    return kind.__new__(kind)


def adapter_class(layer: nn.Module) -> type[AdapterLayer] | None:
    """The class that can adopt ``layer``; ``None`` if there is none.

    Grouped convolutions and subclasses with a forward of their own (whose formula is unknown)
    are not adapted.
    """
    forward = type(layer).forward
    if isinstance(layer, nn.Linear) and (
        forward is nn.Linear.forward or type(layer).__module__.startswith('mmcv.')
    ):
        return AdapterLinear
    if isinstance(layer, nn.Conv2d) and layer.groups == 1:
        if isinstance(layer, Conv2dSame):
            return AdapterConv2dSame
        if forward is nn.Conv2d.forward or type(layer).__module__.startswith('mmcv.'):
            return AdapterConv2d
    return None
