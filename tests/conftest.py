"""Shared set-up: quiet threads, no network, a fixed seed."""

import os

import pytest
import torch

os.environ.setdefault('HF_HUB_OFFLINE', '1')
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
