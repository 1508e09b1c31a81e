"""Reports that belong into a log file, and on the terminal only when they are asked for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger

DETAIL = {'detail': True}
"""``extra`` of a line of a log that ``mtpeft`` shows with ``--verbose`` alone."""


def log_detail(text: str, level: int = logging.INFO) -> None:
    """Log what is long, in the log that was opened last.

    Example:
        >>> log_detail('layer  rank')
    """
    MMLogger.get_current_instance().log(level, text, extra=DETAIL)


_asked_for = False


def show_reports(asked_for: bool) -> None:
    """Whether :func:`without_reports` lets everything through, as ``--verbose`` wants it."""
    global _asked_for
    _asked_for = asked_for


@contextmanager
def without_reports() -> Iterator[None]:
    """Keep information off a log that is a terminal alone, such as a line for each parameter that
    MMEngine initialises. Warnings pass, and a log with a file gets everything.

    Example:
        >>> with without_reports():
        ...     MMLogger.get_current_instance().info('a line for each parameter')
    """
    logger = MMLogger.get_current_instance()
    if _asked_for or any(isinstance(h, logging.FileHandler) for h in logger.handlers):
        yield
        return
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)
