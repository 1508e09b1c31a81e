"""The same low-rank product in its singular basis."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rebase:
    r"""A change of basis of ``B A`` that leaves the product as it is.

    ``A' = N A`` and ``B' = B M`` with ``M = N^{-1}``. Gradients then change by
    ``dL/dA' = M^T dL/dA`` and ``dL/dB' = dL/dB N^T``; second moments, as sums of independent terms,
    by the squared entries.

    Attributes:
        n: N ``(r, r)``, float64.
        m: M ``(r, r)``, float64.
        energy: ``(r,)``, squared singular values of ``B A``, in descending order.
        mix: ``(r, r)``, share of each old component in each new one; rows sum to 1.
    """

    n: Tensor
    m: Tensor
    energy: Tensor
    mix: Tensor


def singular_basis(a: Tensor, b: Tensor) -> Rebase | None:
    r"""The basis in which components are singular directions of ``B A``.

    With ``B A = U diag(sigma) V^T`` (from QR decompositions of the factors and an r x r SVD),
    ``A' = c V^T`` and ``B' = U diag(sigma) / c``, where ``c^2 = |A|_F^2 / r``: rows of A keep their
    usual norm, so a component that is not needed looks like a fresh one (A as it starts, B near 0).

    Args:
        a: A ``(r, in)``; kernels are flattened.
        b: B ``(out, r)``.

    Returns:
        The change of basis; ``None`` where ``B A`` is 0, or A has not full rank.

    Example:
        >>> a, b = torch.randn(3, 8), torch.randn(5, 3)
        >>> basis = singular_basis(a, b)
        >>> new = (b.double() @ basis.m) @ (basis.n @ a.double())
        >>> torch.testing.assert_close(new, b.double() @ a.double())
    """
    a, b = a.flatten(1).double(), b.double()
    rank = a.shape[0]
    if rank > min(a.shape[1], b.shape[0]) or not (a.isfinite().all() and b.isfinite().all()):
        return None
    _, r_a = torch.linalg.qr(a.mT)
    _, r_b = torch.linalg.qr(b)
    _, sigma, vh = torch.linalg.svd(r_b @ r_a.mT)
    diagonal = r_a.diagonal().abs()
    if sigma[0] == 0 or diagonal.min() <= 1e-9 * diagonal.max():
        return None
    c = (a.square().sum() / rank).sqrt()
    n = c * torch.linalg.solve_triangular(r_a, vh.mT, upper=True).mT
    m = r_a.mT @ vh.mT / c
    mix = n.square() * a.square().sum(1)
    return Rebase(n, m, sigma.square(), mix / mix.sum(1, keepdim=True))
