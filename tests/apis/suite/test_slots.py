"""Places for runs: every GPU once, cores shared out; several runs at once."""

import os
import signal
import threading
import time

import pytest
from helpers.suites import calls, make_suite, run, statuses

from mtpeft.apis.suite import Slot, load_suite
from mtpeft.apis.suite.slots import cpu_slots, gpu_slots

FIGURES = dict(
    a=dict(semseg=('mIoU', [40.0], False)),
    b=dict(depth=('rmse', [1.0], True)),
    c=dict(semseg=('mIoU', [42.0], False), depth=('rmse', [0.9], True)),
)


@pytest.mark.parametrize(
    ('text', 'visible', 'expected'),
    [
        ('0-3', None, '0123'),
        ('0,2', None, '02'),
        ('1-2, 0', None, '120'),
        # positions among those that are visible, as PyTorch counts
        ('0,3', '4,5,GPU-8f,7', ['4', '7']),
        ('2', '4,5,GPU-8f,7', ['GPU-8f']),
    ],
)
def test_each_gpu_is_one_place(text, visible, expected):
    slots = gpu_slots(text, 4, visible)
    assert [slot.environment for slot in slots] == [
        {'CUDA_VISIBLE_DEVICES': device} for device in expected
    ]


@pytest.mark.parametrize(
    ('text', 'number', 'match'),
    [
        ('0-4', 4, r'expected numbers in 0\.\.3, got 4'),
        ('0', 0, '--jobs N'),
        ('0,0', 4, r'different GPUs.*\[0, 0\]'),
        ('3-1', 4, 'at least one'),
        *((text, 4, 'such as 0-3') for text in ('all', '', '0-', '-1', '1.5', '0-1-2')),
    ],
)
def test_what_is_no_gpu_is_named(text, number, match):
    with pytest.raises(ValueError, match=match):
        gpu_slots(text, number)


@pytest.mark.parametrize(('jobs', 'cores', 'threads'), [(2, 8, 4), (3, 8, 2), (8, 2, 1)])
def test_jobs_share_the_cores_out(jobs, cores, threads):
    slots = cpu_slots(jobs, cores)
    assert len(set(slots)) == jobs
    assert {slot.environment['OMP_NUM_THREADS'] for slot in slots} == {str(threads)}
    assert max(1, jobs * threads) <= max(cores, jobs)


def test_threads_that_the_user_has_set_stay():
    assert cpu_slots(2, 8, given='3')[0].environment == {'OMP_NUM_THREADS': '3'}
    assert cpu_slots(1) == [Slot()]
    with pytest.raises(ValueError, match='1 or more'):
        cpu_slots(0)


def test_two_runs_at_once_each_with_its_own_variables(tmp_path):
    """Either of the first two ends only when the other has begun; one that fails stops none."""
    suite = load_suite(str(make_suite(tmp_path, FIGURES, a='meet', b='error')))
    said, reports = [], []
    slots = [Slot(f'GPU {i}', {'CUDA_VISIBLE_DEVICES': str(i)}) for i in (4, 5)]
    run(suite, tmp_path, say=said.append, slots=slots, after_run=lambda: reports.append(1))
    assert statuses(suite, tmp_path) == dict(a='finished', b='failed', c='finished')
    assert sorted(calls(tmp_path)) == ['a 0 new', 'b 0 new', 'c 0 new'] and len(reports) == 3
    devices = {
        label: (tmp_path / f'work/{label}/seed0/log.txt').read_text().split('device ')[1][0]
        for label in 'abc'
    }
    assert {devices['a'], devices['b']} == {'4', '5'}
    for label in 'abc':
        assert sum(f'{label} seed 0 (GPU {devices[label]}): ' in line for line in said) == 2


def test_an_interruption_ends_all_runs_and_the_next_call_goes_on(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, a='sleep', b='sleep')))
    files = [tmp_path / f'work/{label}/seed0/pid' for label in 'ab']

    def interrupt():
        for _ in range(1200):
            if all(file.is_file() and file.read_text() for file in files):
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run(suite, tmp_path, slots=cpu_slots(2, 2))
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
    assert statuses(suite, tmp_path) == dict(a='unfinished', b='unfinished', c='missing')
    run(suite, tmp_path, slots=cpu_slots(2, 2))
    assert set(statuses(suite, tmp_path).values()) == {'finished'}
    assert sorted(calls(tmp_path)[2:]) == ['a 0 resumed', 'b 0 resumed', 'c 0 new']
