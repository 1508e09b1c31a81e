"""From statistics of single pictures to those of the set."""

from collections.abc import Sequence

import torch
from torch import Tensor

Statistics = dict[str, Tensor]


def pool(statistics: Sequence[Statistics]) -> Statistics:
    """Sum statistics over pictures, counts in int64 and everything else in float64.

    The pictures are added in their order, so one process and several (whose results are put back
    into the order of the data set) give the same bits.

    Args:
        statistics: One dict a picture, all with the same keys and shapes.

    Returns:
        The sums under the same keys.

    Raises:
        ValueError: there is no picture.
    """
    if not statistics:
        raise ValueError('Expected the statistics of at least one picture, got none.')
    totals = {key: _wide(value).clone() for key, value in statistics[0].items()}
    for entry in statistics[1:]:
        for key, total in totals.items():
            total += _wide(entry[key])
    return totals


def _wide(value: Tensor) -> Tensor:
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)
