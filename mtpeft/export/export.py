"""A trained model written as a file that runs without mtpeft."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mtpeft.export.description import described
from mtpeft.export.errors import ExportError
from mtpeft.export.exportable import Exportable, prepared
from mtpeft.export.files import onnx_bytes, program_bytes
from mtpeft.export.graph import traced
from mtpeft.export.runtimes import runner_of
from mtpeft.export.sizes import check_elsewhere, check_here
from mtpeft.utils.atomic import write_atomically

SUFFIXES = ('.onnx', '.pt2')


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        module: What it was made of, on the CPU.
        size: Bytes of the file.
        elsewhere: Of a file with a dynamic size: the largest difference from the model at other
            sizes (H, W), as a share of a range.
    """

    path: Path
    module: Exportable
    size: int
    elsewhere: dict[tuple[int, int], float]


def export_model(
    model: nn.Module,
    path: str | Path,
    size: Sequence[int],
    tasks: Sequence[str] | None = None,
    raw: bool = False,
    dynamic_size: bool = False,
    half: bool = False,
    opset: int | None = None,
    transforms: Sequence[Any] = (),
    force: bool = False,
) -> Exported:
    """Write a model as ONNX (``.onnx``) or as a graph of torch.export (``.pt2``).

    The model is merged first; what cannot be merged is exported as the modules that it is. The file
    takes any number of pictures.

    Args:
        model: A :class:`~mtpeft.models.MultiTaskModel`; it stays as it is.
        path: The file; its suffix says which kind.
        size: Height and width of the pictures.
        tasks: Names of the tasks that are wanted, all by default.
        raw: Normalised pictures in, logits out, see :class:`~mtpeft.export.Exportable`.
        dynamic_size: Take pictures of other sizes too. The file is compared with the model at two
            others before it is written.
        half: Compute in float16.
        opset: Version of ONNX's operators.
        transforms: Of the config's test, noted in the file.
        force: Replace a file that is there.

    Raises:
        FileExistsError: there is such a file.
        ExportError: the model cannot be exported so; why.
        KeyError: an unknown task.
        TypeError: the model is none of ours.
        ValueError: another suffix.

    Example:
        >>> export_model(model, 'model.onnx', size=(224, 224)).size  # doctest: +SKIP
        31048576
    """
    path = checked_path(path, force)
    module = prepared(model, tasks, raw, half)
    graph = traced(module, size, dynamic_size)
    about = described(module, size, dynamic_size, half, transforms)
    if path.suffix == '.onnx':
        data = onnx_bytes(graph, module, about, opset)
    else:
        data = program_bytes(graph, about)
    elsewhere = _check(module, data, path.suffix, size, dynamic_size, half)
    write_atomically(data, path)
    return Exported(path, module, len(data), elsewhere)


def _check(
    module: Exportable, data: bytes, suffix: str, size: Sequence[int], dynamic_size: bool,
    half: bool,
) -> dict[tuple[int, int], float]:  # fmt: skip
    """Compare before there is a file that is wrong; of one size only where a runtime is there."""
    try:
        run = runner_of(data, suffix)
    except ExportError:
        if dynamic_size:
            raise
        return {}
    if not half:
        check_here(module, run, size)
    return check_elsewhere(module, run, size, half) if dynamic_size else {}


def checked_path(path: str | Path, force: bool = False) -> Path:
    """The path of a file to write.

    Raises:
        FileExistsError: there is such a file.
        ValueError: another suffix than those of :data:`SUFFIXES`.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'{path}: expected a name that ends in {" or ".join(SUFFIXES)} (ONNX, or a graph of '
            'torch.export).'
        )
    if path.exists() and not force:
        raise FileExistsError(f'{path} exists. Give another name, or --force to replace it.')
    return path
