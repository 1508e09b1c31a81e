"""From logits to predictions: pictures of any size, windows, flips and scales."""

from mtpeft.models.prediction.options import (
    TestOptions,
    Tta,
    changed_options,
    test_options,
)
from mtpeft.models.prediction.slide import TestCfg

__all__ = ['TestCfg', 'TestOptions', 'Tta', 'changed_options', 'test_options']
