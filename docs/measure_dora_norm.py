"""Norms of DoRA's rows: from B A in full, or from small products?

One thread, no gradients, the median of 30 calls of each, in one run; prints the ratio
(in full / small products: above 1, small products are faster).

    python docs/measure_dora_norm.py
"""

import statistics
import time
from unittest import mock

import torch

from mtpeft.adapters import dora

SHAPES = [(96, 96), (288, 96), (384, 96), (768, 768), (384, 1536), (2304, 768), (768, 3072)]
RANKS = (5, 16, 64)


def seconds(large, *factors):
    times = []
    with mock.patch.object(dora, '_LARGE', large), torch.no_grad():
        for _ in range(30):
            start = time.perf_counter()
            dora.row_norms(*factors, 4.0)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    torch.set_num_threads(1)
    print('| W0 | lanes | numbers | ' + ' | '.join(f'rank {r}' for r in RANKS) + ' |')
    print('|---|---|---|' + '---|' * len(RANKS))
    for lanes in ((), (4,)):
        for out, inner in SHAPES:
            cells = []
            for rank in RANKS:
                weight = torch.randn(out, inner)
                a, b = torch.randn(*lanes, rank, inner), torch.randn(*lanes, out, rank)
                whole = seconds(2**62, weight, a, b)
                cells.append(f'{whole / seconds(0, weight, a, b):.1f}')
            count = out * inner * (lanes[0] if lanes else 1)
            name = lanes[0] if lanes else '-'
            print(
                f'| {out} x {inner} | {name} | {count:,} | ' + ' | '.join(cells) + ' |', flush=True
            )


if __name__ == '__main__':
    main()
