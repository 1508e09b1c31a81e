"""Errors of real values against numpy."""

import numpy as np
import pytest
import torch

from mtpeft.evaluation.functional import pool
from mtpeft.evaluation.functional.values import values_compute, values_update


def test_figures_agree_with_numpy_over_all_pixels_and_channels():
    rng = np.random.default_rng(0)
    statistics, errors = [], []
    for n in (1, 9, 4):
        pred, label = rng.standard_normal((2, 2, 3, n))
        valid = rng.random((3, n)) < 0.7
        valid[0, 0] = True
        statistics.append(values_update(*map(torch.from_numpy, (pred, label, valid))))
        errors.append((pred - label)[:, valid].ravel())
    error = np.concatenate(errors)
    figures = values_compute(pool(statistics))
    assert figures['mae'] == pytest.approx(np.abs(error).mean())
    assert figures['rmse'] == pytest.approx(np.sqrt((error**2).mean()))
