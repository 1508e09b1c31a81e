"""Damaged files are refused with their name, or give the very model.

``MTPEFT_DAMAGED_FILES=300`` tries more of them.
"""

import os

import pytest
from reliability.damage import Trial

FILES = int(os.environ.get('MTPEFT_DAMAGED_FILES', 60))


@pytest.fixture(scope='module')
def trial(tmp_path_factory):
    return Trial(tmp_path_factory.mktemp('damage'))


@pytest.mark.parametrize('tenth', range(10))
def test_nothing_wrong_is_loaded(trial, tenth):
    outcomes = {seed: trial.outcome(seed) for seed in range(tenth, FILES, 10)}
    assert not {seed: what for seed, (verdict, what) in outcomes.items() if verdict == 'wrong'}
