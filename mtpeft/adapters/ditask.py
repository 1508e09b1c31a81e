"""DiTASK: the spectrum of a frozen weight, moved by a flow (arXiv 2502.06029)."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mtpeft.adapters.base import Adapter, Coupling, matrix_shape
from mtpeft.adapters.formed_once import FormedOnce
from mtpeft.adapters.lanes.current import now
from mtpeft.ops.cpab import cpab_displacement
from mtpeft.ops.dropout import Dropout
from mtpeft.registry import ADAPTERS
from mtpeft.utils.kinds import Share, Size
from mtpeft.utils.suggest import hint

_INITS = ('uniform', 'zero')


def index_warp(s: Tensor, theta: Tensor) -> Tensor:
    r"""What a flow over the positions in a spectrum changes of its values.

    .. math:: S'_i = (1 - f) S_j + f S_{j+1}, \qquad j + f = (n - 1)\, \phi(i / (n - 1))

    The first and the last value stay, and S' is sorted as S is.

    Args:
        s: S ``(..., n)``, sorted.
        theta: Of the flow, ``(..., N - 1)``; leading axes are broadcast.

    Returns:
        S' - S ``(..., n)``, exactly 0 for theta = 0.

    Example:
        >>> index_warp(torch.tensor([3.0, 2.0, 1.0]), torch.zeros(4))
        tensor([0., 0., 0.])
    """
    last = s.shape[-1] - 1
    i = torch.arange(last + 1, device=s.device, dtype=s.dtype)
    place = (i + last * cpab_displacement(i / max(last, 1), theta)).clamp(0, last)
    lead = torch.broadcast_shapes(place.shape[:-1], s.shape[:-1])
    place, s = place.expand(*lead, -1), s.expand(*lead, -1)
    below = place.detach().floor()
    j = below.long()
    low, high = s.gather(-1, j), s.gather(-1, (j + 1).clamp(max=last))
    return low - s + (place - below) * (high - low)


def value_warp(s: Tensor, theta: Tensor) -> Tensor:
    r"""What a flow over the values of a spectrum changes of them.

    .. math:: S'_i = S_1\, \phi(S_i / S_1)

    The largest value and 0 stay.

    Args:
        s: S ``(..., n)``, sorted.
        theta: Of the flow, ``(..., N - 1)``; leading axes are broadcast.

    Returns:
        S' - S ``(..., n)``, exactly 0 for theta = 0.

    Example:
        >>> value_warp(torch.tensor([3.0, 2.0, 1.0]), torch.zeros(4))
        tensor([0., 0., 0.])
    """
    top = s[..., :1]
    return top * cpab_displacement(s / torch.where(top > 0, top, 1), theta)


_WARPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(index=index_warp, value=value_warp)


@ADAPTERS.register_module()
class DiTASK(FormedOnce, Adapter):
    r"""Only the singular values of a frozen weight change, by a flow of few parameters.

    .. math:: W_0 = U\,\mathrm{diag}(S)\,V^T, \qquad W'_t = U\,\mathrm{diag}(S'_t)\,V^T, \qquad
              y_t = W'_t x_t + b

    (arXiv 2502.06029.) S' comes from S by the flow phi of :func:`~mtpeft.ops.cpab.cpab_flow`
    with the N - 1 numbers theta_t of the shared stream or of a task: see ``warp``. There is no
    frozen path beside W', so dropout hits the whole input of the shared stream. A lane whose input
    is still the shared stream's (proj, behind one attention for all) reads what dropout left of it;
    later lanes pass their own input, undropped.

    U, S and V are computed when they are first needed, kept beside the layer, left out of state
    dicts, and computed anew when the weight has changed. The weights of all lanes are made at once,
    and are kept in evaluation, though not by a compiled graph: merge before compiling for speed.

    Args:
        layer: The layer to adapt; a convolution's weight is the matrix ``(out, in k k)``.
        tasks: Names of the task lanes.
        cells: N of the shared stream.
        task_cells: N of each task.
        warp: ``'index'``: the flow moves positions in the sorted spectrum (:func:`index_warp`), as
            the authors' code does. ``'value'``: it moves the values (:func:`value_warp`), as the
            paper's formula does.
        init: ``'uniform'``: theta uniform in +-1/sqrt(N - 1), a start beside the pretrained layer;
            ``'zero'``: the start is the pretrained layer.
        dropout: On the input of the shared stream.
        parts: The weight's rows are so many matrices of their own, with one theta for all.
            Default: 3 for a Linear layer with out = 3 in (q, k and v), 2 with out = 2 in, else 1.

    Raises:
        ValueError: fewer than 2 cells, an unknown ``warp`` or ``init``, or ``parts`` that do not
            divide the outputs.

    Example:
        >>> adapter = DiTASK(nn.Linear(8, 4), tasks=['semseg', 'depth'], cells=16)
        >>> adapter.theta.shape, adapter.task_theta.shape
        (torch.Size([1, 15]), torch.Size([2, 1, 3]))
    """

    coupling = Coupling(while_same=True)

    def __init__(
        self,
        layer: nn.Module,
        tasks: Sequence[str] = (),
        cells: Size = 64,
        task_cells: Size = 4,
        warp: Literal['index', 'value'] = 'index',
        init: Literal['uniform', 'zero'] = 'uniform',
        dropout: Share = 0.05,
        parts: Size | None = None,
    ) -> None:
        super().__init__(layer, tasks)
        for name, value, valid in (('warp', warp, tuple(_WARPS)), ('init', init, _INITS)):
            if value not in valid:
                raise ValueError(f'{name}={value!r} is unknown. ' + hint(str(value), valid))
        self.cells = _check_cells(cells, 'cells')
        self.task_cells = _check_cells(task_cells, 'task_cells')
        self.warp = warp
        self.init = init
        self.parts = _parts(layer, parts)
        self.dropout = Dropout(dropout)
        new = layer.weight.new_empty
        self.theta = nn.Parameter(new(1, cells - 1))
        self.shared_parameters = {'theta_shared': ['theta']}
        if tasks:
            self.task_theta = nn.Parameter(new(len(self.tasks), 1, task_cells - 1))
            self.task_parameters = {'theta_task': ['task_theta']}
        for name in ('U', 'S', 'Vh'):
            self.register_buffer(name, None, persistent=False)
        self._decomposed: tuple | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """theta uniform in +-1/sqrt(N - 1), or zero."""
        for parameter in self.parameters():
            bound = parameter.shape[-1] ** -0.5 if self.init == 'uniform' else 0.0
            nn.init.uniform_(parameter, -bound, bound)

    # -- the decomposition ---------------------------------------------------------------------

    def reset_from_weight(self, layer: nn.Module) -> None:
        """Forget the decomposition; the next pass makes it anew."""
        self._decomposed = self._formed = None

    def decomposition(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """U ``(parts, out / parts, n)``, S ``(parts, n)``, V^T ``(parts, n, in)`` of the weight."""
        # a compiled graph cannot compare versions: it would break here
        if not (now.prepared and torch.compiler.is_compiling()):
            self._renew(layer)
        return self.U, self.S, self.Vh

    def prepare(self, layer: nn.Module) -> None:
        self._renew(layer)

    def _renew(self, layer: nn.Module) -> None:
        weight = layer.weight
        known = self._decomposed
        state = weight._version, weight.dtype
        if known is None or known[0] is not weight or known[1] != state:
            # inference tensors could not be used in a training step after it
            with torch.inference_mode(False), torch.no_grad():
                self.U, self.S, self.Vh = _svd(weight.unflatten(0, (self.parts, -1)).flatten(2))
            self._decomposed = weight, state
            self._formed = None

    def spectrum(self, layer: nn.Module, task: str | None = None) -> Tensor:
        """S' ``(parts, n)`` of the shared stream or of a task."""
        _, s, _ = self.decomposition(layer)
        return s + self._change(s, self._theta(task))

    def _theta(self, task: str | None) -> Tensor:
        return self.theta if task is None else self.task_theta[self.task_index(task)]

    def _change(self, s: Tensor, theta: Tensor) -> Tensor:
        with torch.autocast(s.device.type, enabled=False):
            return _WARPS[self.warp](s, theta.to(s.dtype))

    def _delta(self, layer: nn.Module, theta: Tensor) -> Tensor:
        """``W' - W0``, ``(..., *weight.shape)`` for theta ``(..., 1, N - 1)``."""
        u, s, vh = self.decomposition(layer)
        with torch.autocast(s.device.type, enabled=False):
            # of the change alone: at theta = 0 it is exactly 0, whatever the SVD has rounded
            delta = (u * self._change(s, theta).unsqueeze(-2)) @ vh
        return delta.view(*theta.shape[:-2], *layer.weight.shape).to(layer.weight.dtype)

    def delta_weight(self, layer: nn.Module, task: str | None = None) -> Tensor:
        return self._delta(layer, self._theta(task))

    # -- streams -------------------------------------------------------------------------------

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        return {'weight': self._whole(layer, self.task_theta, 'lanes')}

    def _whole(self, layer: nn.Module, theta: nn.Parameter, name: str) -> Tensor:
        self.decomposition(layer)  # a new one drops what was formed of the old
        return self.formed([theta], lambda: layer.weight + self._delta(layer, theta), name=name)

    def shared_and_memory(self, layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
        dropped = self.dropout(x)
        out = layer.convolve(dropped, self._whole(layer, self.theta, 'shared'), layer.bias)
        drops = self.tasks and self.training and self.dropout.p > 0
        return out, dropped if drops else None

    def lane(
        self, layer: nn.Module, x: Tensor, params: dict[str, Tensor], memory: Tensor | None
    ) -> Tensor:
        return layer.convolve(x if memory is None else memory, params['weight'], layer.bias)

    def extra_repr(self) -> str:
        lanes = f', task_cells={self.task_cells}, tasks={list(self.tasks)}' if self.tasks else ''
        return f'cells={self.cells}, warp={self.warp!r}, parts={self.parts}{lanes}'


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD in float32 at least."""
    low = matrix.dtype in (torch.float16, torch.bfloat16)
    matrix = matrix.float() if low else matrix
    if matrix.shape[-2] >= matrix.shape[-1]:
        return torch.linalg.svd(matrix, full_matrices=False)
    # tall matrices take half the time of wide ones
    v, s, uh = torch.linalg.svd(matrix.mT, full_matrices=False)
    return uh.mT, s, v.mT


def _check_cells(cells: object, name: str) -> int:
    if isinstance(cells, bool) or not isinstance(cells, int) or cells < 2:
        raise ValueError(f'expected {name} to be an integer of at least 2, got {cells!r}')
    return cells


def _parts(layer: nn.Module, parts: int | None) -> int:
    rows, columns = matrix_shape(layer)
    if parts is None:
        ratio = rows / columns
        return int(ratio) if isinstance(layer, nn.Linear) and ratio in (2, 3) else 1
    if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1 or rows % parts:
        raise ValueError(
            f'expected parts to be an integer that divides the {rows} outputs, got {parts!r}'
        )
    return parts
