"""Exported files run, so that they can be compared with their model."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mtpeft.export.errors import ExportError

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def runner_of(
    file: str | Path | bytes, suffix: str | None = None, threads: int | None = None
) -> Run:  # fmt: skip
    """A function that runs an exported file: pictures in, maps by task out.

    Args:
        file: An ``.onnx`` or a ``.pt2`` file, or what is in it.
        suffix: Which of the two it is; by default that of the path.
        threads: Threads of onnxruntime; those of torch by default.

    Raises:
        ExportError: onnxruntime is not installed.
    """
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    if (suffix or Path(file).suffix) == '.pt2':
        program = torch.export.load(io.BytesIO(data)).module()

        def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
            with torch.no_grad():
                return {name: x.numpy() for name, x in program(torch.from_numpy(pictures)).items()}

        return run
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            'onnxruntime is not installed, which runs ONNX files: pip install "mtpeft[export]". '
            'Without it a file for one size can be written unchecked (--no-check).'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    return lambda pictures: dict(
        zip(names, session.run(names, {given.name: pictures}), strict=True)
    )
