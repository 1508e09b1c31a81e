"""Files for pictures of any size: what cannot be one, and whether one is right elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor

from mtpeft.export.check import differences
from mtpeft.export.errors import ExportError
from mtpeft.export.exportable import Exportable
from mtpeft.export.runtimes import Run
from mtpeft.models.backbones.families.picture_size import built_for, takes_one_size

#: differences, as shares of a range, above which a file gives something else than its model
SAME, HALF = 1e-3, 5e-2


def check_network(module: Exportable) -> None:
    """Refuse a dynamic size where it is known that a network has none.

    Raises:
        ExportError: it is of a family that has none, or was built for one size.
    """
    family = getattr(module.model.backbone, 'family', None)
    if getattr(family, 'one_size', ''):
        raise ExportError(
            f'A {family.name} {family.one_size}, and its size cannot be dynamic. Export one file a '
            'size (--size H W).'
        )
    network = getattr(module.model.backbone, 'network', None)
    if network is not None and takes_one_size(network):
        height, width = built_for(network)
        raise ExportError(
            f'{type(network).__name__} was built for pictures of {height} x {width} and takes no '
            f'others (its positions belong to that size), so its size cannot be dynamic. Export '
            f'it at {height} x {width}, or train it with img_size of another one.'
        )


def check_here(module: Exportable, run: Run, size: Sequence[int]) -> None:
    """Refuse a file that gives something else than its model at the very size of its trace.

    Raises:
        ExportError: it does.
    """
    rows = differences(module, run, module.example(2, size).numpy())
    worst = max(rows, key=lambda row: row.largest)
    if worst.largest > SAME:
        raise ExportError(
            f"The graph of this model is wrong: task '{worst.task}' is off by {worst.largest:.1e} "
            'of a range. Nothing was written. Run it in PyTorch, and report it, please.'
        )


def check_elsewhere(
    module: Exportable, run: Run, size: Sequence[int], half: bool = False
) -> dict[tuple[int, int], float]:
    """Compare a file with its model at other sizes than the one that it was traced at.

    What held at that size only may stand in a graph without a word: a trace sees one way through
    each branch.

    Args:
        module: What was traced.
        run: Runs the file.
        size: Height and width that it was traced at.
        half: It computes in float16.

    Returns:
        The largest difference as a share of a range, by size.

    Raises:
        ExportError: the file gives something else there, or does not run.
    """
    height, width = size
    found = {}
    for other in ((height + 13, width + 22), (max(height // 2, least_side(module)) + 5, 2 * width)):
        try:
            rows = differences(module, run, module.example(1, other).numpy())
        except Exception as error:  # (runtimes have many kinds)
            raise ExportError(_refused(other, f'does not run ({_first_line(error)})')) from error
        found[other] = max(row.largest for row in rows)
        if found[other] > (HALF if half else SAME):
            raise ExportError(_refused(other, f'is off by {found[other]:.1e} of a range'))
    return found


def _refused(size: tuple[int, int], why: str) -> str:
    return (
        'This model cannot be exported with a dynamic size: what was traced at one size '
        f'{why} at {size[0]} x {size[1]}. Nothing was written. Export it at one size (without '
        '--dynamic-size), one file a size.'
    )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def least_side(module: Exportable) -> int:
    """The smallest side of pictures of a dynamic size: two pixels at the largest stride."""
    return max(getattr(module.model.backbone, 'strides', (1,))) + 1


@contextmanager
def constant_padding(module: Exportable) -> Iterator[None]:
    r"""Let TensorFlow's padding be a constant, as it is on padded pictures.

    It is :math:`\max((\lceil n / s \rceil - 1) s + d (k - 1) + 1 - n, 0)`, and where the stride s
    divides n, :math:`\max(d (k - 1) + 1 - s, 0)`. Pictures are padded to a multiple of all strides,
    so it does everywhere; a trace of the first for open sizes takes minutes.
    """
    changed = [m for m in module.modules() if isinstance(m, Conv2dSame)]
    for conv in changed:
        conv.forward = _padded(conv)
    try:
        yield
    finally:
        for conv in changed:
            del conv.forward


def _padded(conv: Conv2dSame) -> Callable[[Tensor], Tensor]:
    sides: list[int] = []
    for axis in (1, 0):
        span = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
        pad = max(span - conv.stride[axis], 0)
        sides += [pad // 2, pad - pad // 2]

    def forward(x: Tensor) -> Tensor:
        x = F.pad(x, sides)
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)

    return forward
