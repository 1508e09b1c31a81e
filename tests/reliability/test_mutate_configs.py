"""300 configs with one mistake each; any number by tests/reliability/mutate_configs.py."""

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    'mutate_configs', Path(__file__).with_name('mutate_configs.py')
)
mutate = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(mutate)


@pytest.fixture(scope='module')
def trial():
    return mutate.Trial()


@pytest.mark.parametrize('start', range(0, 300, 50))
def test_a_mistake_is_named_or_does_no_harm(trial, start):
    outcomes = {seed: trial.outcome(seed) for seed in range(start, start + 50)}
    wrong = {seed: what for seed, (verdict, what) in outcomes.items() if verdict != 'right'}
    assert not wrong


def test_a_seed_is_one_change(trial):
    assert repr(trial.mutant(7)) == repr(mutate.Trial().mutant(7))


def test_a_mutant_differs_from_its_config_in_one_place(trial):
    for seed in range(30):
        name, values, path, _ = trial.mutant(seed)
        whole = trial._loaded[name]
        assert repr(values) != repr(whole)
        assert {k for k in {**values, **whole} if repr(values.get(k)) != repr(whole.get(k))} <= {
            path[0], *(set(values) - set(whole)),
        }  # fmt: skip
