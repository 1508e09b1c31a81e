"""What the low-pass of Sine-AWB costs as shifted copies, and as convolutions.

python docs/measure_lowpass.py
"""

import statistics
import time

import torch
import torch.nn.functional as F

from mtpeft.adapters.lowpass import RADIUS, banded_smooth, gaussian, shifted_smooth

SHAPES = [(3, 96, 384), (4, 192, 768), (4, 384, 1536), (4, 768, 3072)]


def shifted(x):
    return shifted_smooth(shifted_smooth(x, 1), 2)


def blocks_of_the_band(x):
    return banded_smooth(banded_smooth(x, 1), 2)


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
    ways = [shifted, blocks_of_the_band, two_convolutions, one_convolution, banded_matrices]
    print('| weights | ' + ' | '.join(way.__name__.replace('_', ' ') for way in ways) + ' |')
    print('|---|' + '---|' * len(ways))
    for shape in SHAPES:
        x = torch.randn(shape, requires_grad=True)
        times = {way: [] for way in ways}
        for way in ways * 6:
            start = time.perf_counter()
            out = way(x)
            out.sum().backward()
            times[way].append(time.perf_counter() - start)
            torch.testing.assert_close(out, shifted(x), rtol=1e-4, atol=1e-5)
        first = statistics.median(times[shifted][1:])
        cells = [f'{statistics.median(times[way][1:]) / first:.1f}' for way in ways]
        shown = ' x '.join(map(str, shape))
        print(f'| {shown} | ' + ' | '.join([f'{cells[0]} ({first * 1e3:.1f} ms)', *cells[1:]])
              + ' |', flush=True)  # fmt: skip


if __name__ == '__main__':
    main()
