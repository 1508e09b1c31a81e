"""Exported files run, so that they can be compared with their model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mtpeft.export.errors import ExportError

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def runner_of(path: str | Path, threads: int | None = None) -> Run:
    """A function that runs an exported file: pictures in, maps by task out.

    Args:
        path: An ``.onnx`` or a ``.pt2`` file.
        threads: Threads of onnxruntime; those of torch by default.

    Raises:
        ExportError: onnxruntime is not installed.
    """
    if Path(path).suffix == '.pt2':
        program = torch.export.load(path).module()

        def run(pictures: np.ndarray) -> dict[str, np.ndarray]:
            with torch.no_grad():
                return {name: x.numpy() for name, x in program(torch.from_numpy(pictures)).items()}

        return run
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(
            'onnxruntime is not installed, which runs ONNX files: pip install "mtpeft[export]". '
            'Without it the file can be written unchecked (--no-check).'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']
    )  # fmt: skip
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    return lambda pictures: dict(
        zip(names, session.run(names, {given.name: pictures}), strict=True)
    )
