"""A few of the kills of kills.py; ``MTPEFT_KILLS=44`` makes more."""

import os

import pytest
from reliability.kills import Trial

KILLS = int(os.environ.get('MTPEFT_KILLS', 3))


@pytest.fixture(scope='module')
def trial(tmp_path_factory):
    return Trial(tmp_path_factory.mktemp('kills'))


@pytest.mark.parametrize('seed', range(1, 1 + KILLS))
def test_killed_and_resumed_it_is_as_if_left_alone(trial, seed):
    verdict, what = trial.outcome(seed)
    assert verdict == 'right', what
