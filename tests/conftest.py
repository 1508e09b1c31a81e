"""Shared set-up: quiet threads, no network, a fixed seed, one default scope."""

import os

import pytest
import torch
from mmengine.registry import DefaultScope

os.environ.setdefault('HF_HUB_OFFLINE', '1')
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _scope_of_its_own():
    """A Runner sets MMEngine's default scope for the whole process; the next test starts afresh."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
