"""The singular basis leaves a low-rank product as it is, and gradients go along."""

import pytest
import torch

from mtpeft.adapters.ranks.rebase import singular_basis


def factors(rank=4, inner=9, out=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return make(rank, inner), make(out, rank)


def test_components_become_singular_directions():
    a, b = factors()
    basis = singular_basis(a, b)
    new_a, new_b = basis.n @ a, b @ basis.m
    torch.testing.assert_close(new_b @ new_a, b @ a)
    torch.testing.assert_close(basis.n @ basis.m, torch.eye(4, dtype=torch.float64))
    singular = torch.linalg.svdvals(b @ a)[:4]
    torch.testing.assert_close(basis.energy, singular.square())
    # rows of A keep their usual norm, columns of B hold the singular values
    c = a.square().sum() / 4
    torch.testing.assert_close(new_a @ new_a.T, c * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(new_b.T @ new_b, torch.diag(singular.square() / c))
    torch.testing.assert_close(basis.mix.sum(1), torch.ones(4, dtype=torch.float64))


def test_gradients_go_along():
    """What the chain rule says, against gradients computed anew in the new basis."""
    a, b = factors()
    basis = singular_basis(a, b)
    target = torch.randn(7, 9, dtype=torch.float64)

    def gradients(a, b):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        (b @ a - target).pow(3).sum().backward()
        return a.grad, b.grad

    old_a, old_b = gradients(a, b)
    new_a, new_b = gradients(basis.n @ a, b @ basis.m)
    torch.testing.assert_close(new_a, basis.m.T @ old_a)
    torch.testing.assert_close(new_b, old_b @ basis.n.T)


def test_a_basis_that_is_singular_already_is_kept_up_to_scale():
    a, b = factors()
    first = singular_basis(a, b)
    second = singular_basis(first.n @ a, b @ first.m)
    torch.testing.assert_close(second.n.abs(), torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(second.mix, torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize('case', ['start', 'twins', 'wide', 'not finite'])
def test_where_there_is_no_such_basis(case):
    a, b = factors()
    if case == 'start':
        b = torch.zeros_like(b)
    elif case == 'twins':
        a[1] = a[0]
    elif case == 'wide':
        a, b = factors(rank=8, inner=9, out=7)
    else:
        a[0, 0] = torch.nan
    assert singular_basis(a, b) is None


def test_kernels_are_flattened():
    a, b = factors(inner=18)
    basis, flat = singular_basis(a.view(4, 2, 3, 3), b), singular_basis(a, b)
    torch.testing.assert_close(basis.n, flat.n)
