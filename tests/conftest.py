"""Shared set-up: quiet threads, no network, a fixed seed, one default scope."""

import gc
import os

import pytest
import torch
from mmengine.registry import DefaultScope

os.environ.setdefault('HF_HUB_OFFLINE', '1')
torch.set_num_threads(1)


def pytest_configure(config):
    """Files in their order: by the number of tests, long ones with few tests would come last."""
    if hasattr(config.option, 'loadscopereorder'):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Those that launch programs first, as they take longest."""
    items.sort(key=lambda item: 'tools' not in item.path.parts)


def pytest_collection_finish():
    """What was imported stays: collections of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def structure_only(monkeypatch):
    """Large random tensors are zeros, for what looks at names and shapes: drawing them takes most
    of the time of building a network.
    """
    for name in ('uniform_', 'normal_', 'erfinv_'):
        monkeypatch.setattr(torch.Tensor, name, _unless_large(getattr(torch.Tensor, name)))


def _unless_large(fill):
    def filled(tensor, *args, **kwargs):
        return fill(tensor, *args, **kwargs) if tensor.numel() < 4096 else tensor.zero_()

    return filled


def _scope_put_back():
    """A Runner sets MMEngine's default scope for the whole process; what follows starts afresh."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


_after_a_test = pytest.fixture(autouse=True)(_scope_put_back)
# (fixtures of a module run before those of its tests)
_after_a_module = pytest.fixture(autouse=True, scope='module')(_scope_put_back)
