"""From logits to predictions: pictures of any size, windows, flips and scales."""

from mtpeft.models.prediction.options import (
    TestCfg,
    TestOptions,
    Tta,
    changed_options,
    test_options,
)

__all__ = ['TestCfg', 'TestOptions', 'Tta', 'changed_options', 'test_options']
