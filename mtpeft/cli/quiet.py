"""What a command shows: its own words and warnings; the log file has everything.

MMEngine has one level for terminal and file, so the terminal of each of its loggers gets a filter.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from mmengine.logging import MMLogger

from mtpeft.utils.details import DETAIL

#: packages whose reports are for the log file
_LIBRARIES = ('mmengine', 'mmcv', 'mmseg', 'timm', 'torch', 'torchvision', 'huggingface_hub')
_STANDARD = f'{Path(logging.__file__).parents[1]}/'
#: of what MMEngine's hooks say, which is about the run
_NOISE = ('Exp name: ', 'Checkpoints will be saved to ')


@contextmanager
def quiet() -> Iterator[None]:
    """Keep reports of libraries, and what mtpeft marks as detail, off the terminal.

    Errors and warnings reach it, but for warnings about what will be deprecated, and warnings of
    Python that libraries raise. What is kept off is in the log file of the run, also what came
    before that file was there.

    Example:
        >>> with quiet():
        ...     warnings.warn_explicit('old', FutureWarning, '/lib/site-packages/timm/x.py', 1)
    """
    rule, held, logs = _Rule(), [], []
    make = MMLogger.__init__

    @wraps(make)
    def made(self: MMLogger, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        _add(rule, self)
        if _writes_a_file(self):
            logs.append(self)
            for text in held:
                self.warning(text, extra=DETAIL)
            held.clear()

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if rule.shows_warning(filename):
            print(f'WARNING {message}', file=file or sys.stderr)
            return
        text = warnings.formatwarning(message, category, filename, lineno, line).strip()
        if logs:
            logs[-1].warning(text, extra=DETAIL)
        else:
            held.append(text)

    for logger in MMLogger._instance_dict.values():
        _add(rule, logger)
    with warnings.catch_warnings():
        warnings.showwarning = show
        MMLogger.__init__ = made
        try:
            yield
        finally:
            MMLogger.__init__ = make
            for logger in MMLogger._instance_dict.values():
                for handler in logger.handlers:
                    handler.removeFilter(rule)


class _Rule(logging.Filter):
    """Whether a line is for the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._ours, self._engine = (_folders(name)[0] for name in ('mtpeft', 'mmengine'))
        self._libraries = tuple(folder for name in _LIBRARIES for folder in _folders(name))

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, 'detail'):
            return False
        text, origin = record.getMessage(), _origin(record)
        of_library = origin.startswith(self._libraries)
        if record.levelno >= logging.WARNING:
            return not (of_library and 'deprecated' in text)
        if origin.startswith(f'{self._engine}hooks/'):
            return not text.startswith(_NOISE)
        return not of_library

    def shows_warning(self, filename: str) -> bool:
        """Is a warning of Python ours, or of a file that is no installed package?"""
        installed = {'site-packages', 'dist-packages'} & set(Path(filename).parts)
        return filename.startswith(self._ours) or not (
            installed or filename.startswith((*self._libraries, _STANDARD))
        )


def _folders(package: str) -> list[str]:
    spec = find_spec(package)
    return [f'{folder}/' for folder in spec.submodule_search_locations] if spec else []


def _origin(record: logging.LogRecord) -> str:
    """The file that a line comes from; of MMEngine's print_log, the one that called it."""
    if record.funcName != 'print_log':
        return record.pathname
    frame = sys._getframe()
    while frame and frame.f_code.co_name != 'print_log':
        frame = frame.f_back
    return frame.f_back.f_code.co_filename if frame and frame.f_back else record.pathname


def _add(rule: _Rule, logger: MMLogger) -> None:
    """Put the rule before what writes to the terminal."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(rule)


def _writes_a_file(logger: MMLogger) -> bool:
    return any(isinstance(handler, logging.FileHandler) for handler in logger.handlers)
