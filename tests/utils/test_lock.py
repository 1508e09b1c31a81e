"""One run in a folder at a time."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from mtpeft.utils.lock import LOCK_FILE, WorkDirBusyError, hold, release

HOLD = """
import sys, time
from mtpeft.utils.lock import hold
hold(sys.argv[1])
print('held', flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    child = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == 'held\n'
    yield child
    child.kill()
    child.wait()


def test_the_second_is_refused_with_the_first_one_named(tmp_path, holder):
    with pytest.raises(WorkDirBusyError, match=rf'{tmp_path}.*process {holder.pid} on .*work-dir'):
        hold(tmp_path)


def test_a_kill_lets_go(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    hold(tmp_path)
    release(tmp_path)


def test_a_process_may_hold_again_also_by_a_link(tmp_path):
    folder, link = tmp_path / 'a', tmp_path / 'b'
    hold(folder)
    link.symlink_to(folder)
    hold(link)
    refused = subprocess.run([sys.executable, '-c', HOLD, str(link)], capture_output=True)
    assert refused.returncode == 1
    release(link)
    release(folder)


def _wait(queue):
    queue.get()


def test_workers_do_not_hold_it_on(tmp_path):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    hold(tmp_path)
    worker = context.Process(target=_wait, args=(queue,))
    worker.start()
    release(tmp_path)
    code = HOLD.replace('time.sleep(60)', '')
    subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=True, capture_output=True)
    queue.put(0)
    worker.join()


@pytest.mark.parametrize('content', ['', 'text', '[]'])
def test_a_holder_that_left_no_name(tmp_path, holder, content):
    (tmp_path / LOCK_FILE).write_text(content)
    with pytest.raises(WorkDirBusyError, match='not known'):
        hold(tmp_path)
