"""One line where the model waits for its data, and none where it does not."""

from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from mtpeft.hooks.waiting import WaitingForData


def run(data_times, batches=30, step=0.1, key='train/data_time', hook=None):
    """What is said in a training whose iterations wait for these seconds, of ``step`` each."""
    said = []
    hub = MessageHub(f'waiting{id(said)}')
    logger = SimpleNamespace(warning=said.append)
    loader = type('Loader', (), dict(__len__=lambda self: batches, num_workers=1))()
    runner = SimpleNamespace(train_dataloader=loader, message_hub=hub, logger=logger)
    hook = hook or WaitingForData()
    for number, seconds in enumerate(data_times):
        hub.update_scalar(key, seconds)
        hub.update_scalar('train/time', step)
        before = len(said)
        hook.look(runner)
        said[before:] = [(number + 1, text) for text in said[before:]]
    return said


def test_it_is_said_once_when_the_first_pass_is_over():
    ((number, text),) = run([0.05] * 400)
    assert number == 80 and '50% of the time (0.050 of 0.100 s' in text
    assert 'train_dataloader.num_workers is 1' in text and 'mtpeft data bench' in text


@pytest.mark.parametrize('times', [
    [0.019] * 400,  # less than a fifth
    [0.09] * 30 + [0.01] * 400,  # caches fill in the first pass
    [0.05] * 79,
])  # fmt: skip
def test_it_is_quiet_otherwise(times):
    assert run(times) == []


def test_the_first_pass_over_much_data_settles_too():
    assert [number for number, _ in run([0.05] * 600, batches=10**6)] == [550]


def test_without_a_timer_nothing_is_said():
    assert run([0.05] * 100, key='train/other') == []


def test_it_belongs_to_every_run(tmp_path, monkeypatch):
    from helpers.engine import tiny, train

    monkeypatch.setattr('mtpeft.hooks.waiting._WINDOW', 1)
    monkeypatch.setattr('mtpeft.hooks.waiting._SHARE', -1.0)
    runner = train(tiny(train_cfg__max_epochs=2), tmp_path)
    text = next(tmp_path.rglob('*.log')).read_text(encoding='utf-8')
    assert text.count('The model waits for its data') == 1 and runner.iter == 6
