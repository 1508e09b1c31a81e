"""Angles of normals against rotations of known size and numpy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mtpeft.evaluation.functional import angles_deg, normals_compute, normals_update, pool


def _turned(angles, seed=0):
    """Unit vectors and the same turned by ``angles`` degrees about an axis across them."""
    rng = np.random.default_rng(seed)
    label = rng.standard_normal((len(angles), 3))
    label /= np.linalg.norm(label, axis=1, keepdims=True)
    axis = np.cross(label, rng.standard_normal((len(angles), 3)))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    pred = Rotation.from_rotvec(np.deg2rad(angles)[:, None] * axis).apply(label)
    return torch.from_numpy(pred.T), torch.from_numpy(label.T)


@pytest.mark.parametrize('angle', [0, 1e-4, 0.02, 11, 90, 179.999, 180])
def test_angle_of_a_rotation(angle):
    pred, label = _turned(np.full(5, float(angle)))
    assert angles_deg(pred, label).numpy() == pytest.approx(np.full(5, angle), abs=1e-6)


def test_length_does_not_matter_and_zero_points_nowhere():
    pred, label = _turned(np.array([30.0]))
    assert float(angles_deg(7 * pred, 0.1 * label)) == pytest.approx(30)
    assert float(angles_deg(0 * pred, label)) == 90


@pytest.mark.parametrize('sizes', [(1,), (2,), (40, 7, 300)])
def test_figures_agree_with_numpy_over_all_pixels(sizes):
    rng = np.random.default_rng(1)
    angles = [rng.gamma(2, 9, n).clip(0, 180) for n in sizes]
    statistics = []
    for i, values in enumerate(angles):
        pred, label = _turned(values, seed=i)
        # One more pixel, which is invalid.
        pred = torch.cat([pred, torch.ones(3, 1)], 1)[:, None]
        label = torch.cat([label, torch.zeros(3, 1)], 1)[:, None]
        statistics.append(normals_update(pred, label, (label != 0).any(0)))
    figures = normals_compute(pool(statistics))
    every = np.concatenate(angles)
    assert figures['mean_angle'] == pytest.approx(every.mean())
    assert figures['rmse'] == pytest.approx(np.sqrt((every**2).mean()))
    assert figures['median'] == pytest.approx(np.median(every), abs=0.025 + 1e-9)
    for limit in (11.25, 22.5, 30):
        assert figures[f'below_{limit:g}'] == pytest.approx(100 * (every < limit).mean())


def test_opposite_normals_fall_into_the_last_bin():
    label = torch.tensor([0.0, 0, -1]).view(3, 1, 1)
    figures = normals_compute(pool([normals_update(-label, label, torch.ones(1, 1).bool())]))
    assert figures['mean_angle'] == 180
    assert figures['median'] == pytest.approx(180, abs=0.025 + 1e-9)
