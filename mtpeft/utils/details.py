"""Reports that belong into a log file, and on the terminal only when they are asked for."""

import logging

from mmengine.logging import MMLogger

DETAIL = {'detail': True}
"""``extra`` of a line of a log that ``mtpeft`` shows with ``--verbose`` alone."""


def log_detail(text: str, level: int = logging.INFO) -> None:
    """Log what is long, in the log that was opened last.

    Example:
        >>> log_detail('layer  rank')
    """
    MMLogger.get_current_instance().log(level, text, extra=DETAIL)
