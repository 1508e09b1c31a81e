"""Reports for log files: what a terminal alone gets of them."""

import logging

import pytest
from helpers.configs import PICO
from mmengine.logging import MMLogger

from mtpeft.apis import init_model
from mtpeft.utils.details import show_reports, without_reports


@pytest.fixture
def said(monkeypatch):
    """What the current log, which writes no file, is told."""
    monkeypatch.setattr(MMLogger, '_instance_dict', type(MMLogger._instance_dict)())
    texts = []

    class Listener(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    MMLogger.get_current_instance().addHandler(Listener())
    yield texts
    show_reports(False)


def tell():
    logger = MMLogger.get_current_instance()
    logger.info('report')
    logger.warning('careful')


@pytest.mark.parametrize('asked_for', [False, True])
def test_a_terminal_alone_gets_warnings_and_what_is_asked_for(said, asked_for):
    show_reports(asked_for)
    with without_reports():
        tell()
    assert said == (['report', 'careful'] if asked_for else ['careful'])
    tell()  # as before
    assert said[-2:] == ['report', 'careful']


def test_a_log_with_a_file_gets_everything(said, tmp_path):
    MMLogger.get_current_instance().addHandler(logging.FileHandler(tmp_path / 'log'))
    with without_reports():
        tell()
    assert said == ['report', 'careful']


def test_a_model_for_predictions_is_built_without_a_line_for_each_parameter(said):
    model = init_model(PICO[0])
    lines = [line for text in said for line in text.splitlines()]
    parameters = {name for name, _ in model.named_parameters()}
    assert not [line for line in lines if line.split(' ')[0] in parameters]
