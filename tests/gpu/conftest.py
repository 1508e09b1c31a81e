"""Tests that need a GPU; ``MTPEFT_GPU_TESTS_ON=cpu`` tries the tests themselves without one."""

import os

import pytest
import torch

ON = os.environ.get('MTPEFT_GPU_TESTS_ON', 'cuda')


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    """float32 means float32: TF32 would differ by a thousandth."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def device():
    if ON == 'cuda' and not torch.cuda.is_available():
        pytest.skip('no GPU that CUDA can use')
    return torch.device(ON)
