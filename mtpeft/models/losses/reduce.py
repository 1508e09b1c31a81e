"""Normalisation of a loss over all processes."""

import torch
from mmengine import dist
from torch import Tensor


def sum_over_processes(counts: Tensor) -> Tensor:
    """Sum of ``counts``, or of weights, over all processes; with one process, ``counts`` itself.

    Every process must call it equally often, also one whose batch holds no label.
    """
    total = counts.detach().clone()
    dist.all_reduce(total)
    return total


def mean_over_processes(values: Tensor) -> Tensor:
    """Mean of ``values`` over all processes, detached: what a log should show."""
    mean = values.detach().clone()
    dist.all_reduce(mean, op='mean')
    return mean


def global_mean(numerator: Tensor, total: Tensor) -> Tensor:
    """This process's share of a mean over the global batch.

    ``numerator * world_size / total``: DistributedDataParallel averages gradients over processes,
    which cancels ``world_size`` and leaves exactly the gradient one process would compute from
    the whole batch, however unevenly the labels are spread.

    Args:
        numerator: Sum over this process's valid elements, a scalar in the graph.
        total: Number (or sum of the weights) of valid elements of **all** processes, from
            :func:`sum_over_processes`.

    Returns:
        A scalar; 0, connected to the graph, where ``total`` is 0.
    """
    return numerator * (dist.get_world_size() / total.where(total > 0, torch.ones_like(total)))
