"""Memory that was freed is used again, unless the user chose otherwise."""

import os
import subprocess
import sys

import pytest

from mtpeft.utils.allocator import _glibc

# page faults of steps that keep tensors to their end, once it is settled where these lie
PROGRAM = """
import resource, torch
from mtpeft.utils.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step = [torch.ones(10 * 2**20) for _ in range(4)]
    del step
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = {kept}
for _ in range(10):
    faults()
print(kept, *(faults() for _ in range(4)))
"""
needs_glibc = pytest.mark.skipif(
    'LD_PRELOAD' in os.environ or not _glibc(),
    reason='needs glibc without another allocator',
)


def run(kept, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'GLIBC_TUN'))}
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM.format(kept=kept)], env={**clean, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, *faults = done.stdout.split()
    return kept == 'True', [int(n) for n in faults]


@needs_glibc
def test_freed_memory_is_not_mapped_again():
    (before, plain), (after, kept) = run(False), run('keep_freed_memory()')
    assert (before, after) == (False, True)
    # 160 MiB are 80 of the largest pages
    assert min(plain) >= 80
    assert sum(kept) < min(plain)


@needs_glibc
@pytest.mark.parametrize(
    'choice',
    [
        dict(MALLOC_TRIM_THRESHOLD_='65536'),
        dict(GLIBC_TUNABLES='glibc.malloc.trim_threshold=65536'),
    ],
    ids=str,
)
def test_what_the_user_chose_stays(choice):
    kept, faults = run('keep_freed_memory()', **choice)
    assert not kept
    assert min(faults) >= 80


@pytest.mark.parametrize(('worker', 'calls'), [(object(), 1), (None, 0)])
def test_a_process_that_loads_data_keeps_memory_once(monkeypatch, worker, calls):
    from mtpeft.utils import allocator

    called = []
    monkeypatch.setattr(allocator, '_asked', 0)
    monkeypatch.setattr(allocator, 'get_worker_info', lambda: worker)
    monkeypatch.setattr(allocator, 'keep_freed_memory', lambda: called.append(1))
    for _ in range(3):
        allocator.keep_memory_of_worker()
    assert len(called) == calls
    monkeypatch.setattr('os.getpid', lambda: -1)  # a fork of it asks again
    allocator.keep_memory_of_worker()
    assert len(called) == 2 * calls
