"""CPAB flows of the unit interval in closed form (Freifeld et al., ICCV 2015 and TPAMI 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Below, quotients such as (e^y - 1) / y are series: their derivative would cancel.
_SMALL = 0.02
# e^80 is finite in float32; where it would matter, a point has left its cell long before.
_STEEP = 80.0


def knot_velocities(theta: Tensor) -> Tensor:
    r"""Velocity at the N + 1 knots j / N.

    .. math:: v_0 = v_N = 0, \qquad v_j = \frac{j}{N} \sum_{k=j}^{N-1} \frac{\theta_k}{k}

    Basis function k rises as x / k to 1 / N at k / N, and falls to 0 at (k + 1) / N.

    Args:
        theta: ``(..., N - 1)``.

    Returns:
        ``(..., N + 1)``.

    Example:
        >>> knot_velocities(torch.tensor([0.0, 2.0])) * 3
        tensor([0., 1., 2., 0.])
    """
    k = torch.arange(1, theta.shape[-1] + 1, device=theta.device, dtype=theta.dtype)
    tails = (theta / k).flip(-1).cumsum(-1).flip(-1)
    return F.pad(tails * k / (theta.shape[-1] + 1), (1, 1))


def cpab_flow(x: Tensor, theta: Tensor) -> Tensor:
    r"""Where a point is after one unit of time in a piecewise linear velocity field.

    .. math:: \phi(x) = \xi(1), \qquad \dot\xi = v(\xi), \quad \xi(0) = x

    v is linear between the knots of :func:`knot_velocities`, in N equal cells of [0, 1]. phi
    increases, fixes 0 and 1, and is the identity for theta = 0. In float32 at least, also under
    autocast.

    Args:
        x: Points in [0, 1], ``(..., P)``.
        theta: ``(..., N - 1)``; its leading axes and those of ``x`` are broadcast.

    Returns:
        ``(..., P)``.

    Example:
        >>> cpab_flow(torch.tensor([0.0, 0.5, 1.0]), torch.zeros(3))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return x + cpab_displacement(x, theta)


def cpab_displacement(x: Tensor, theta: Tensor) -> Tensor:
    """``phi(x) - x`` of :func:`cpab_flow`, exactly 0 for theta = 0.

    No loop over time or cells. In a cell with slope a, a point of velocity u is at
    ``u (e^(a t) - 1) / a`` after t, and has crossed to the wall with velocity u' after
    ``log(u' / u) / a``. Times to cross whole cells add up to a table of N x N, in which each point
    finds its last cell.
    """
    with torch.autocast(x.device.type, enabled=False):
        low = torch.float16, torch.bfloat16
        x, theta = (t.float() if t.dtype in low else t for t in (x, theta))
        lead = torch.broadcast_shapes(x.shape[:-1], theta.shape[:-1])
        x, theta = x.expand(*lead, -1), theta.expand(*lead, -1)
        return _displacement_in_cells(x, theta) / (theta.shape[-1] + 1)


def _displacement_in_cells(x: Tensor, theta: Tensor) -> Tensor:
    cells = theta.shape[-1] + 1
    knots = cells * knot_velocities(theta)  # in cells for a unit of time
    place = cells * x
    cell = place.detach().floor().clamp(0, cells - 1).long()
    inside = place - cell
    left, right = knots.gather(-1, cell), knots.gather(-1, cell + 1)
    speed = (1 - inside) * left + inside * right  # exactly the knot's at both ends
    ahead = speed > 0  # to the right
    step = torch.where(ahead, 1, -1)
    wall = torch.where(ahead, right, left)
    distance = torch.where(ahead, 1 - inside, inside)
    first, leaves = _crossing(distance, speed, wall)

    # Time from entering the neighbour of a cell until cell j is crossed, N x N
    whole, passable = _crossing(torch.ones_like(knots[..., 1:]), knots[..., :-1], knots[..., 1:])
    whole = torch.where(passable, whole, 2)[..., None, :].expand(*knots.shape[:-1], cells, cells)
    rightward = whole.triu(1).cumsum(-1)
    leftward = whole.tril(-1).flip(-1).cumsum(-1).flip(-1)
    on_right = torch.ones(cells, cells, dtype=torch.bool, device=x.device).triu(1)
    table = torch.where(on_right, rightward, leftward)

    with torch.no_grad():
        rows = table.gather(-2, cell[..., None].expand(*cell.shape, cells))
        j = torch.arange(cells, device=x.device)
        on_way = torch.where(ahead[..., None], j > cell[..., None], j < cell[..., None])
        crossed = (on_way & (first[..., None] + rows <= 1)).sum(-1)
        last = torch.where(leaves, cell + step * (1 + crossed), cell)
        # where the last cell was entered, as a cell crossed before; its own cell took no time
        index = cell * cells + torch.where(leaves, last - step, cell)
        edge = torch.where(ahead, last, last + 1)
    before = first + table.flatten(-2).gather(-1, index)
    rest = torch.where(leaves, 1 - before, 1)
    start = torch.where(leaves, knots.gather(-1, edge), speed)
    slope = knots.gather(-1, last + 1) - knots.gather(-1, last)
    move = start * rest * _growth((slope * rest).clamp(max=_STEEP))
    return torch.where(leaves, edge - place, 0) + move


def _crossing(distance: Tensor, speed: Tensor, wall: Tensor) -> tuple[Tensor, Tensor]:
    """Time over ``distance`` while the velocity goes linearly from ``speed`` to ``wall``.

    Returns:
        The time (0 where it takes more than 1, or for ever), and where it takes no more than 1.
    """
    with torch.no_grad():
        moves = speed * wall > 0
        tries = [torch.where(moves, t, 1) for t in (distance, speed, wall)]
        passes = moves & (_time(*tries) <= 1)
    # what does not cross must not send infinities through the gradient
    safe = [torch.where(passes, t, 1) for t in (distance, speed, wall)]
    return torch.where(passes, _time(*safe), 0), passes


def _time(distance: Tensor, speed: Tensor, wall: Tensor) -> Tensor:
    """``distance log(r) / (r - 1) / |speed|`` with r = wall / speed > 0."""
    ratio = wall / speed
    z = (wall - speed) / speed
    small = z.detach().abs() < _SMALL
    ratio = torch.where(small, 2, ratio)
    series = _series(torch.where(small, -z, 0), [1 / n for n in range(1, 10)])
    return distance / speed.abs() * torch.where(small, series, ratio.log() / (ratio - 1))


def _growth(y: Tensor) -> Tensor:
    """``(e^y - 1) / y``."""
    small = y.detach().abs() < _SMALL
    coefficients = [1.0]
    for n in range(2, 9):
        coefficients.append(coefficients[-1] / n)
    series = _series(torch.where(small, y, 0), coefficients)
    safe = torch.where(small, 1, y)
    return torch.where(small, series, safe.expm1() / safe)


def _series(y: Tensor, coefficients: list[float]) -> Tensor:
    """``sum_i coefficients[i] y^i`` by Horner's rule."""
    total = torch.full_like(y, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * y + coefficient
    return total
