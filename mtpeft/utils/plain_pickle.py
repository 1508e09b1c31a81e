"""What a file of ``torch.save`` may hold beside tensors: plain containers, numbers, settings."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_BUFFER_METHODS = {name: getattr(HistoryBuffer, name) for name in ('min', 'max', 'current', 'mean')}


class _Settings:
    """What stands for ``yacs.config.CfgNode``, a dict with marks: a plain dict, without any code of
    yacs, which need not be installed."""

    def __new__(cls) -> OrderedDict:
        return OrderedDict()


def plain_content() -> AbstractContextManager:
    """A context in which ``torch.load(weights_only=True)`` lets in what is no code.

    NumPy numbers and arrays, MMEngine's ``HistoryBuffer`` (the smoothed log of a run), and the
    settings that code of the Swin family saves (``yacs.config.CfgNode``), which come as a dict.

    Example:
        >>> with plain_content():
        ...     data = torch.load('model.pth', weights_only=True)  # doctest: +SKIP
    """
    return torch.serialization.safe_globals(_allowed())


def _buffer_method(owner: type, name: str) -> Callable:
    # HistoryBuffer pickles its methods as getattr(HistoryBuffer, 'mean'). The real getattr would
    # let a file reach any attribute of anything it can name.
    if owner is not HistoryBuffer or name not in _BUFFER_METHODS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL builtins.getattr ({name})')
    return _BUFFER_METHODS[name]


def _allowed() -> list:
    core = np._core if hasattr(np, '_core') else np.core
    numpy_1 = [
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]
    kinds = ('bool', 'int8', 'uint8', 'int16', 'int32', 'int64', 'uint32', 'float32', 'float64')
    dtypes = {type(np.dtype(kind)) for kind in kinds}
    return [
        HistoryBuffer, (_buffer_method, 'builtins.getattr'), np.ndarray, np.dtype, *dtypes,
        core.multiarray._reconstruct, core.multiarray.scalar, *numpy_1,
        (_Settings, 'yacs.config.CfgNode'),
    ]  # fmt: skip
