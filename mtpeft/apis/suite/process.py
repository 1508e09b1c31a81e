"""Processes of runs: started with what they print in a log, and ended together."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

#: how a process is asked to end, and for how many seconds it is then waited for
_WAYS = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 30.0))


def start(
    command: Sequence[str], log: TextIO, lock: int, environment: Mapping[str, str]
) -> subprocess.Popen:
    """Start a command that holds a lock; this process's own interruption does not reach it."""
    return subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        start_new_session=True, pass_fds=[lock], env={**os.environ, **environment},
    )  # fmt: skip


def stop(children: Sequence[subprocess.Popen]) -> None:
    """End processes, all at once: asked kindly, then not; asked again meanwhile, sooner."""
    for number, patience in _WAYS:
        alive = [child for child in children if child.poll() is None]
        if not alive:
            return
        for child in alive:
            _send(child, number)
        try:
            _wait(alive, patience)
        except KeyboardInterrupt:
            continue


def _send(child: subprocess.Popen, number: int) -> None:
    if number != signal.SIGKILL:
        child.send_signal(number)
        return
    try:
        # what it has started too: it leads a session of its own
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass


def _wait(children: Sequence[subprocess.Popen], patience: float) -> None:
    end = time.monotonic() + patience
    for child in children:
        try:
            child.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return
