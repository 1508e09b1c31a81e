"""Measure the forms of a low-rank adapter on a frozen Linear layer, in turns, as CPU time.

python docs/measure_formed_linear.py [PICTURES] [SIDE OF A PICTURE]

Forward and backward pass of the layers of a Swin-T: products of the rank beside the frozen one
(plain), and one product with the formed weight whose factors get their gradient from products of
the rank (thin) or from the weight's whole gradient (full). Printed: time over that of plain.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

from mtpeft.ops.formed_linear import FULL, THIN, best_form, formed_linear

ROUNDS, WARM_UP = 9, 2
LAYERS = {'qkv': (1, 3), 'proj': (1, 1), 'fc1': (1, 4), 'fc2': (4, 1)}


def seconds(function) -> float:
    """CPU time of a call: another process that takes the core does not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def plain(x, weight, bias, a, b, gain, scale, _):
    out = F.linear(x, weight, bias) + scale * ((x @ a.mT) @ b.mT)
    return out if gain is None else out * gain + (1 - gain) * bias


def compare(rows: int, inner: int, outer: int, rank: int, gained: bool) -> list[float]:
    """Median times of thin and full over that of plain."""
    x = torch.randn(rows, inner, requires_grad=True)
    weight, bias = torch.randn(outer, inner), torch.randn(outer)
    factors = [torch.randn(rank, inner), torch.randn(outer, rank)]
    gain = torch.rand(outer).requires_grad_() if gained else None
    factors = [f.requires_grad_() for f in factors]
    grad = torch.randn(rows, outer)

    def step(function, thin: bool) -> None:
        function(x, weight, bias, *factors, gain, 4.0, thin).backward(grad)
        for tensor in (x, *factors):
            tensor.grad = None

    forms = [(plain, None), (formed_linear, THIN), (formed_linear, FULL)]
    times = [[seconds(lambda f=form: step(*f)) for form in forms] for _ in range(ROUNDS)]
    medians = [statistics.median(column) for column in list(zip(*times[WARM_UP:], strict=True))]
    return [m / medians[0] for m in medians[1:]]


def main(pictures: int = 2, side: int = 224) -> None:
    torch.set_num_threads(1)
    print('layer | rows | in x out | rank | gain | thin | full | chosen')
    for stage in range(4):
        rows, width = pictures * (side // 4 // 2**stage) ** 2, 96 * 2**stage
        for name, (inner, outer) in LAYERS.items():
            for rank in (16, 64):
                for gained in (False, True):
                    shape = inner * width, outer * width
                    ratios = compare(rows, *shape, rank, gained)
                    form = best_form(rows, *shape, rank, gained)
                    print(name, rows, f'{shape[0]} x {shape[1]}', rank, gained,
                          *(f'{r:.2f}' for r in ratios), form, sep=' | ')  # fmt: skip


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
