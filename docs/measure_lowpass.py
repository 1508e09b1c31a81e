"""What weights of Sine-AWB cost with the low-pass as shifted copies, convolutions, and in tiles.

python docs/measure_lowpass.py
"""

import functools
import statistics
import time

import torch
import torch.nn.functional as F

from mtpeft.ops.lowpass import RADIUS, gaussian, smooth
from mtpeft.ops.tiled_modulation import tiled_modulation

SHAPES = [(4, 96, 384), (4, 192, 768), (4, 384, 1536), (4, 768, 3072)]


def shifted(x):
    return smooth(smooth(x, 1), 2)


def two_convolutions(x):
    kernel, maps = torch.tensor(gaussian(), dtype=x.dtype), x[:, None]
    down = F.pad(maps, (0, 0, RADIUS, RADIUS), mode='replicate')
    maps = F.conv2d(down, kernel.view(1, 1, -1, 1))
    along = F.pad(maps, (RADIUS, RADIUS, 0, 0), mode='replicate')
    return F.conv2d(along, kernel.view(1, 1, 1, -1))[:, 0]


def one_convolution(x):
    kernel = torch.tensor(gaussian(), dtype=x.dtype)
    maps = F.pad(x[:, None], (RADIUS,) * 4, mode='replicate')
    return F.conv2d(maps, torch.outer(kernel, kernel)[None, None])[:, 0]


def banded_matrices(x):
    return _band(x.shape[1]) @ x @ _band(x.shape[2]).mT


def _band(size):
    at = (torch.arange(size)[:, None] + torch.arange(-RADIUS, RADIUS + 1)).clamp(0, size - 1)
    return torch.zeros(size, size).scatter_add_(1, at, torch.tensor(gaussian()).expand(size, -1))


def main():
    torch.set_num_threads(1)
    ways = [shifted, two_convolutions, one_convolution, banded_matrices]
    names = [way.__name__.replace('_', ' ') for way in ways]
    print('| weights | ' + ' | '.join([*names, 'tiles']) + ' |')
    print('|---|' + '---|' * (len(ways) + 1))
    for tasks, *shape in SHAPES:
        base = torch.randn(1, *shape, requires_grad=True)
        omega, weight = torch.linspace(1, 50, tasks), torch.randn(shape)
        omega.requires_grad_()

        def formula(way, base=base, omega=omega, weight=weight):
            return weight + 0.1 * way((omega[:, None, None] * base).sin())

        calls = {way: functools.partial(formula, way) for way in ways}
        calls[tiled_modulation] = functools.partial(tiled_modulation, base, omega, weight, 0.1)
        times = {way: [] for way in calls}
        for way, call in list(calls.items()) * 6:
            start = time.perf_counter()
            out = call()
            torch.autograd.grad(out.sum(), (base, omega))
            times[way].append(time.perf_counter() - start)
            torch.testing.assert_close(out, formula(shifted), rtol=1e-4, atol=1e-5)
        first = statistics.median(times[shifted][1:])
        cells = [f'{statistics.median(times[way][1:]) / first:.2f}' for way in calls]
        shown = ' x '.join(map(str, (tasks, *shape)))
        print(f'| {shown} | ' + ' | '.join([f'{cells[0]} ({first * 1e3:.1f} ms)', *cells[1:]])
              + ' |', flush=True)  # fmt: skip


if __name__ == '__main__':
    main()
