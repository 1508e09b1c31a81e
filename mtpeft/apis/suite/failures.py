"""Why a run failed, in a line."""

import re
import signal

from mtpeft.apis.suite.collect import one_line


def failure_reason(code: int, log: str) -> str:
    """Why a process failed: its signal, or the last error of its log and its exit status.

    Example:
        >>> failure_reason(-9, '')
        'killed by SIGKILL (the system does so when memory runs out)'
        >>> failure_reason(1, 'ConfigError: no such role\\nmore words')
        'ConfigError: no such role (exit status 1)'
        >>> failure_reason(1, 'Traceback (most recent call last):\\n  x\\nKeyError: 1\\nbye')
        'KeyError: 1 (exit status 1)'
    """
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f'signal {-code}'
        more = ' (the system does so when memory runs out)' if name == 'SIGKILL' else ''
        return f'killed by {name}{more}'
    if code == 0:
        return f'ended without a result: {last_error(log)}'
    return f'{last_error(log)} (exit status {code})'


def last_error(log: str) -> str:
    """The error of the last traceback in a log, else the last in words, else the last line."""
    tracebacks = log.rsplit('Traceback (most recent call last):', 1)
    if len(tracebacks) == 2:
        found = re.search(r'^[\w.]+(:.*)?$', tracebacks[1], re.MULTILINE)
        if found:
            return one_line(found[0])
    # a command says errors in words
    said = re.findall(r'^\w*Error: .+$', log, re.MULTILINE)
    if said:
        return one_line(said[-1])
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith('$ ')]
    return one_line(lines[-1]) if lines else 'it printed nothing'
