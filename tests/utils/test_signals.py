"""What SIGTERM does, in a process of its own."""

import subprocess
import sys
import textwrap

import pytest

from mtpeft.utils.signals import STATUS

START = 'import os, signal, time\nfrom mtpeft.utils import signals\nsignals.watch()\n'
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
