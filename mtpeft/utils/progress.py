"""How far a command is, and when it will be done."""

import sys
import time
from typing import TextIO


class Progress:
    """One line that is written over on a terminal; elsewhere a line now and then.

    Args:
        total: How many there are; ``None``: nobody knows.
        unit: What is counted, such as ``'pictures'``.
        stream: Where it goes. Default: standard error, so that results can be piped.
        every: Seconds between two lines, where the stream is no terminal.

    Example:
        >>> with Progress(2, 'pictures', sys.stdout, every=0) as progress:
        ...     progress.add(2)
        2/2 pictures, ... a second, 0 s left
    """

    def __init__(
        self, total: int | None, unit: str, stream: TextIO | None = None, every: float = 20.0
    ) -> None:
        self.total, self.unit = total, unit
        self.stream = sys.stderr if stream is None else stream
        self.done = 0
        self._terminal = self.stream.isatty()
        self._every = 0.1 if self._terminal else every
        self._start = self._last = time.monotonic()
        self._width = 0

    def add(self, number: int = 1) -> None:
        """``number`` more are done."""
        self.done += number
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._write(self.text(now - self._start))

    def text(self, seconds: float) -> str:
        """The line after so many seconds."""
        of = str(self.done) if self.total is None else f'{self.done}/{self.total}'
        rate = self.done / max(seconds, 1e-9)
        line = f'{of} {self.unit}, {rate:.3g} a second'
        if self.total is None or not self.done:
            return line
        return f'{line}, {duration(max(self.total - self.done, 0) / rate)} left'

    def note(self, text: str) -> None:
        """Say something in a line of its own."""
        self.clear()
        self.stream.write(f'{text}\n')
        self.stream.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be said."""
        if self._terminal and self._width:
            self.stream.write('\r' + ' ' * self._width + '\r')
            self.stream.flush()
            self._width = 0

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()

    def _write(self, line: str) -> None:
        if self._terminal:
            self.stream.write('\r' + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + '\n')
        self.stream.flush()


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration(8.4), duration(75), duration(7260)
        ('8 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60} s'
    return f'{whole // 3600} h {whole % 3600 // 60} min'
