"""CPAB flows: against numerical integration, the released code's values, and what a flow is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.integrate import solve_ivp

from mtpeft.ops.cpab import cpab_displacement, cpab_flow, knot_velocities

FLOWS = load_file(Path(__file__).parents[1] / 'data/ditask_flows.safetensors')
CASES = sorted({int(key.split('/')[0]) for key in FLOWS})
CELLS = (2, 3, 4, 7, 16, 64)
STRENGTHS = (1e-4, 0.1, 1.0, 8.0)
X = torch.linspace(0, 1, 41, dtype=torch.float64)


def random_theta(cells, strength, *lead):
    generator = torch.Generator().manual_seed(cells)
    shape = (*lead, cells - 1)
    return strength * torch.randn(shape, generator=generator, dtype=torch.float64)


def velocity(theta, x):
    """The sum of the basis functions: k rises as x / k up to k / N, and falls to 0 in one cell."""
    theta, x = np.asarray(theta), np.asarray(x)
    cells = len(theta) + 1
    total = np.zeros_like(x)
    for k, weight in enumerate(theta, start=1):
        knots = np.array([0, k / cells, (k + 1) / cells, 1])
        total += weight * np.interp(x, knots, [0, 1 / cells, 0, 0])
    return total


over_cells = pytest.mark.parametrize('cells', CELLS)
over_strengths = pytest.mark.parametrize('strength', STRENGTHS)


@over_cells
def test_knots_have_the_velocity_of_the_basis_functions(cells):
    theta = random_theta(cells, 1.0)
    knots = np.arange(cells + 1) / cells
    np.testing.assert_allclose(knot_velocities(theta), velocity(theta, knots), atol=1e-14)


@over_cells
@over_strengths
def test_flow_is_the_solution_of_its_differential_equation(cells, strength):
    theta = random_theta(cells, strength)
    solved = solve_ivp(
        lambda _, x: velocity(theta, x), (0, 1), X.numpy(), 'DOP853', rtol=1e-10, atol=1e-12,
        max_step=min(1.0, 0.1 / strength),
    )  # fmt: skip
    np.testing.assert_allclose(cpab_flow(X, theta), solved.y[:, -1], atol=5e-6)  # steps meet kinks


@pytest.mark.parametrize('case', CASES)
def test_flow_equals_the_released_code(case):
    theta, x, phi, v = (FLOWS[f'{case}/{name}'] for name in ('theta', 'x', 'phi', 'velocity'))
    np.testing.assert_allclose(velocity(theta, x), v, atol=1e-12)
    torch.testing.assert_close(cpab_flow(x, theta), phi, rtol=0, atol=1e-10)
    single = cpab_flow(x.float(), theta.float())
    torch.testing.assert_close(single, phi.float(), rtol=0, atol=2e-6)


@over_cells
@over_strengths
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_flow_increases_and_fixes_both_ends(cells, strength, dtype):
    phi = cpab_flow(torch.linspace(0, 1, 400, dtype=dtype), random_theta(cells, strength).to(dtype))
    assert phi[0] == 0 and phi[-1] == 1
    # strictly, but for rounding where a strong flow presses all points together
    assert phi.diff().min() >= (0 if strength <= 1 else -1e-6)


@over_cells
def test_theta_zero_is_exactly_the_identity(cells):
    x = torch.rand(50)
    assert torch.equal(cpab_displacement(x, torch.zeros(cells - 1)), torch.zeros(50))
    assert torch.equal(cpab_flow(x, torch.zeros(cells - 1)), x)


@over_cells
@over_strengths
def test_flows_compose_in_time(cells, strength):
    """Velocity does not depend on time: after s, then t, a point is where s + t takes it."""
    theta = random_theta(cells, strength)
    s, t = 0.3, 0.9
    twice = cpab_flow(cpab_flow(X, s * theta), t * theta)
    torch.testing.assert_close(twice, cpab_flow(X, (s + t) * theta), rtol=0, atol=1e-9)
    back = cpab_flow(cpab_flow(X, theta), -theta)
    torch.testing.assert_close(back, X, rtol=0, atol=1e-9 if strength <= 1 else 1e-5)


@over_cells
@pytest.mark.parametrize('strength', [0.0, 0.1, 1.0, 4.0])
def test_gradient_is_that_of_finite_differences(cells, strength):
    # nowhere on a knot: there the second derivative jumps, and differences are coarse
    x = (X[1:-1:4] + 0.0037).requires_grad_()
    theta = random_theta(cells, strength).requires_grad_()
    assert torch.autograd.gradcheck(cpab_flow, (x, theta), eps=1e-7, atol=1e-5, rtol=1e-4)


@over_cells
def test_gradients_are_finite_in_extremes(cells):
    x = torch.linspace(0, 1, 2 * cells + 1)  # on knots and between
    for strength in (0.0, 1e-30, 1e-8, 1.0, 100.0):
        theta = random_theta(cells, strength).float().requires_grad_()
        phi = cpab_flow(x, theta)
        phi.sum().backward()
        assert phi.isfinite().all() and theta.grad.isfinite().all()
        assert phi[0] == 0 and phi[-1] == 1


def test_leading_axes_are_broadcast():
    theta, x = random_theta(5, 1.0, 3, 1), torch.rand(2, 7, dtype=torch.float64)
    phi = cpab_flow(x, theta)
    assert phi.shape == (3, 2, 7)
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(phi[i, j], cpab_flow(x[j], theta[i, 0]))


def test_autocast_and_half_precision_are_computed_in_float32():
    theta, x = random_theta(16, 1.0).float(), torch.linspace(0, 1, 50)
    plain = cpab_flow(x, theta)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(cpab_flow(x, theta), plain)
    half = cpab_displacement(x.bfloat16(), theta.bfloat16())
    same = cpab_displacement(x.bfloat16().float(), theta.bfloat16().float())
    assert half.dtype == torch.float32 and torch.equal(half, same)


@pytest.mark.parametrize(('cells', 'shift'), [(64, 0.007), (4, 0.11)])
def test_uniform_start_moves_points_by_a_small_part_of_the_interval(cells, shift):
    """What docs/methods/ditask.md says of theta's start."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.rand(4000, cells - 1, generator=generator, dtype=torch.float64) * 2 - 1
    moved = cpab_displacement(X, theta / (cells - 1) ** 0.5).abs().amax(-1).mean()
    assert float(moved) == pytest.approx(shift, rel=0.05)
