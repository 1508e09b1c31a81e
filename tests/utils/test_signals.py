"""What SIGTERM does, in a process of its own."""

import signal
import subprocess
import sys
import textwrap

import pytest

from mtpeft.utils.signals import STATUS, watched

START = """import os, signal, time
from mtpeft.utils import signals
watching = signals.watched()
watching.__enter__()
"""
SEND = 'os.kill(os.getpid(), signal.SIGTERM)\n'


def run(code: str) -> subprocess.CompletedProcess:
    words = [sys.executable, '-c', START + textwrap.dedent(code)]
    return subprocess.run(words, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize('at_once', [True, False])
def test_it_ends_in_words(at_once):
    done = run(f"""
        try:
            {SEND}
        except Exception:
            print('taken for an error')
        except signals.Terminated:
            signals.leave('The end.', at_once={at_once})
    """)
    assert done.returncode == STATUS == 143
    assert done.stderr == 'The end.\n' and not done.stdout


def test_what_must_be_finished_is():
    done = run(f"""
        try:
            with signals.finished_first():
                with signals.finished_first():
                    {SEND.strip()}
                    print('first')
                print('second')
            print('too much')
        except signals.Terminated:
            {SEND.strip()}
            print('a second one is ignored', signals.came())
    """)
    assert done.stdout.split('\n') == ['first', 'second', 'a second one is ignored True', '']


def test_an_error_within_stays_an_error():
    done = run(f"""
        try:
            with signals.finished_first():
                {SEND.strip()}
                raise OSError
        except OSError:
            print('error', signals.came())
    """)
    assert done.stdout == 'error True\n'


def test_it_may_come_a_little_later():
    done = run("""
        pid = os.fork()
        if not pid:
            time.sleep(.5)
            os.kill(os.getppid(), signal.SIGTERM)
            os._exit(0)
        print(signals.came(), signals.came(patience=20))
    """)
    assert done.stdout == 'False True\n'


def test_a_forked_process_is_ended_at_once():
    done = run("""
        pid = os.fork()
        if not pid:
            time.sleep(100)
        os.kill(pid, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), signals.came())
    """)
    assert done.stdout == f'{-signal.SIGTERM} False\n' and not done.stderr


def test_what_was_there_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with watched():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
