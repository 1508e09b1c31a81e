"""A service: many predictions of many sizes in one process, whose memory must stay flat.

python tests/reliability/soak.py --predictions 10000 --sizes 50
"""

import argparse
import random
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import torch


def model() -> torch.nn.Module:
    """Task lanes with a kernel, spectra by size and a shared decoder: what keeps things by size."""
    from mtpeft.models import MultiTaskModel

    torch.manual_seed(0)
    swin = dict(
        type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
    )  # fmt: skip
    plugins = [dict(cfg=dict(type='SineAWB', rank=2), targets=['block'], lanes='task')]
    return MultiTaskModel(
        tasks=dict(semseg=dict(num_classes=5), depth=dict()),
        backbone=dict(type='AdapterBackbone', backbone=swin, plugins=plugins),
        necks=[dict(type='ProjectionNeck', out_channels=(4, 6, 8, 8)), dict(type='TSPD')],
        decoder=dict(type='SharedBaseDecoder', channels=8),
        img_size=(64, 64),
    ).eval()


def memory() -> float:
    """Resident megabytes of this process."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def soak(predictions: int, sizes: int, seed: int = 0) -> list[float]:
    """Megabytes after each tenth of the predictions; wrong values end it with an error."""
    from mtpeft.apis import MultiTaskInferencer

    torch.set_num_threads(1)
    predict, draw = MultiTaskInferencer(model()), random.Random(seed)
    shapes = [(draw.randint(1, 160), draw.randint(1, 160)) for _ in range(sizes)]
    generator = np.random.default_rng(seed)
    pictures = [generator.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]
    first = [predict(picture)['depth'] for picture in pictures]
    seen = []
    for number in range(predictions):
        index = draw.randrange(sizes)
        if not np.allclose(predict(pictures[index])['depth'], first[index], atol=1e-5):
            raise AssertionError(f'prediction {number} of size {shapes[index]} differs')
        if (number + 1) % max(1, predictions // 10) == 0:
            seen.append(memory())
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--predictions', type=int, default=10_000)
    parser.add_argument('--sizes', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    seen = soak(args.predictions, args.sizes, args.seed)
    growth = seen[-1] - seen[0]
    print(f'tried {args.predictions} predictions of {args.sizes} sizes, wrong 0')
    print('megabytes:', ' '.join(f'{value:.0f}' for value in seen), f'(growth {growth:.1f})')
    return int(growth > 0.05 * seen[0])


if __name__ == '__main__':
    sys.exit(main())
