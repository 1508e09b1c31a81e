"""Graphs as files: ONNX, and torch.export's own."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.export import ExportedProgram

from mtpeft.export.errors import ExportError
from mtpeft.export.exportable import Exportable

_MOST = 2_000_000_000
"""Bytes that one file of ONNX may have (a message of protobuf, 2 GiB)."""

OPSET = 18
"""ONNX operators of 2022, which runtimes since onnxruntime 1.14 have."""


def onnx_bytes(
    graph: ExportedProgram, module: Exportable, about: Mapping[str, str], opset: int | None = None
) -> bytes:
    """An ONNX file of a graph, whose outputs are named by task.

    Args:
        graph: See :func:`~mtpeft.export.graph.traced`.
        module: What was traced.
        about: What the file says about itself.
        opset: Version of the operators, :data:`OPSET` by default.

    Raises:
        ExportError: onnx or onnxscript is not installed; an operator has no counterpart in ONNX;
            the file would be larger than one may be.
    """
    _check_installed()
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                input_names=[module.input_name],
                output_names=list(module.tasks),
                opset_version=opset or OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # (torch and onnxscript have many kinds)
        raise ExportError(f'ONNX cannot hold this graph: {_first_line(error)}') from error
    model = program.model
    model.metadata_props.update(about)
    model.producer_name, model.producer_version = 'mtpeft', about['mtpeft']
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    if size > _MOST:
        raise ExportError(
            f'The weights have {size:,} bytes, and one file of ONNX holds {_MOST:,} at most. '
            'Export in half precision (--half), fewer tasks (--tasks), or to .pt2.'
        )
    return program.model_proto.SerializeToString()


def program_bytes(graph: ExportedProgram, about: Mapping[str, str]) -> bytes:
    """A ``.pt2`` file of a graph; ``torch.export.load(path).module()`` runs it."""
    buffer = io.BytesIO()
    torch.export.save(graph, buffer, extra_files=dict(about))
    return buffer.getvalue()


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(
            f'{error.name} is not installed, which makes ONNX files: '
            'pip install "mtpeft[export]". A .pt2 file needs nothing more.'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of each step, and of operators that torchvision lacks."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__


Writer = Callable[[ExportedProgram, Exportable, Mapping[str, str]], bytes]
