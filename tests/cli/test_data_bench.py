"""``mtpeft data bench`` on rendered scenes with a tiny model."""

import re
import time

import numpy as np
import pytest
from helpers.engine import CONFIG

from mtpeft.benchmark import step_times
from mtpeft.cli import main
from mtpeft.datasets import MultiTaskDataset


class Waits(MultiTaskDataset):
    """Every part of it takes a known time of the CPU."""

    LABELS = ('depth', 'edge')

    def load_data_list(self):
        return [dict(img_id=str(i), img_path=str(i)) for i in range(3)]

    def load_image(self, info):
        busy(0.002)
        return np.zeros((4, 6, 3), np.uint8)

    def load_label(self, info, task):
        busy(0.004)
        return np.ones((4, 6), np.float32 if task.name == 'depth' else np.uint8)


def busy(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def twice_as_slow(results):
    busy(0.008)
    return results


def test_each_step_has_its_own_time():
    dataset = Waits(
        tasks=['depth', 'edge'], pipeline=[twice_as_slow, dict(type='PackMultiTaskInputs')]
    )
    spent = step_times(dataset, samples=5, batch_size=2)
    assert list(spent) == ['read picture', 'read depth', 'read edge', 'function',
                           'PackMultiTaskInputs', 'other', 'collate']  # fmt: skip
    expected = {'read picture': 0.002, 'read depth': 0.004, 'read edge': 0.004, 'function': 0.008}
    for name, seconds in expected.items():  # never less than it was busy
        assert spent[name] >= seconds * 0.99
    # afterwards the data set is as before
    assert 'load_image' not in vars(dataset) and dataset.pipeline.transforms[0] is twice_as_slow


@pytest.mark.parametrize('options', [['--no-step'], ['--batch-size', '2', '--workers', '1']])
def test_the_command(capsys, options):
    assert main(['data', 'bench', str(CONFIG), '--samples', '4', *options]) == 0
    text = capsys.readouterr().out
    shares = [int(s) for s in re.findall(r'(\d+)%$', text, flags=re.M)]
    assert 95 <= sum(shares) <= 105  # each is rounded
    assert 'PackMultiTaskInputs' in text and '4 pictures: ' in text
    assert ('A training step takes' in text) == ('--no-step' not in options)
    assert ('1 workers give' in text) == ('--workers' in options)


def test_what_cannot_be_measured(capsys):
    assert main(['data', 'bench', str(CONFIG), '--no-step', '--cache-dir', 'x']) == 1
    assert '--cache-dir: ' in capsys.readouterr().out
