"""Exports are traced without a record of each step, which pytest would keep."""

import logging

import pytest


@pytest.fixture(autouse=True)
def no_records_of_steps(monkeypatch):
    for name in ('torch.__trace', 'torch.fx', 'torch.export', 'onnxscript', 'torch.onnx'):
        monkeypatch.setattr(logging.getLogger(name), 'disabled', True)
