"""What torch must be able to trace before a model is compiled."""

import pytest
import torch
from torch import nn
from torch.torch_version import TorchVersion

from mtpeft.utils.compiling import OLDEST_TORCH, compile_parts, traces_lanes


@pytest.mark.parametrize(
    ('release', 'works'),
    [('2.6.0', False), ('2.9.1+cu128', False), (OLDEST_TORCH, True), ('2.14.1+cpu', True)],
)
def test_a_torch_that_cannot_trace_lanes_is_refused_in_words(monkeypatch, release, works):
    monkeypatch.setattr(torch, '__version__', TorchVersion(release))
    assert traces_lanes() is works
    if works:
        compile_parts(nn.Linear(2, 2), backend='eager')
    else:
        with pytest.raises(RuntimeError, match=f'from torch {OLDEST_TORCH} on; this is 2'):
            compile_parts(nn.Linear(2, 2), backend='eager')
