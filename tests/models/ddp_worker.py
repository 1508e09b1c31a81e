"""One of WORLD_SIZE processes: loss and gradients of its part of a batch.

python ddp_worker.py RANK WORLD_SIZE STORE OUT
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from mmengine.optim import OptimWrapper
from tiny_models import TASKS, TinyBackbone, random_samples, tiny_model
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from mtpeft.optim import TaskGradients

SIZE = (13, 10)
WEIGHTINGS = ('FixedWeighting', 'UncertaintyWeighting', 'other losses')
# GradNorm is ours; the others are of an extra that need not be installed
COMBINING = ('GradNorm', *(('TorchJD',) if find_spec('torchjd') else ()))
OTHER = dict(
    TASKS,
    semseg=dict(num_classes=5, loss=dict(
        type='PixelCrossEntropyLoss', class_weight=[0.5, 1, 2, 0, 3], label_smoothing=0.2
    )),
    human_parts=dict(loss=dict(type='DiceLoss')),
    sal=dict(loss=dict(type='mmseg.FocalLoss')),
    edge=dict(loss=dict(type='DiceLoss', smooth=0.1)),
)  # fmt: skip
# uneven: pictures of rank 0 and 1 by case, and which tasks they have labels for
CASES = {
    'uneven': ([0, 1, 2], [3], [list(TASKS), ['sal', 'depth'], ['semseg', 'normals'], ['sal']]),
    'one_rank_only': ([0, 1], [2, 3], [[], [], list(TASKS), ['edge', 'depth']]),
    'nobody': ([0], [1, 2], [['sal'], ['sal'], ['sal', 'edge']]),
}


def batch(case):
    labelled = CASES[case][2]
    generator = torch.Generator().manual_seed(7)
    pictures = torch.randn(len(labelled), 3, *SIZE, generator=generator)
    return pictures, random_samples([SIZE] * len(labelled), labelled=labelled, seed=3)


def part(case, rank):
    pictures, samples = batch(case)
    indices = CASES[case][rank]
    return pictures[indices], [samples[i] for i in indices]


def model_of(weighting):
    # BatchNorm in eval mode: its batch statistics are each process's own
    backbone = dict(type=TinyBackbone, spare=True)
    if weighting == 'other losses':
        return tiny_model(tasks=OTHER, backbone=backbone).eval()
    return tiny_model(backbone=backbone, loss_weighting=dict(type=weighting)).eval()


def step(model, pictures, samples, steps=3):
    """Gradients of the first step, and the weights after some more."""
    base = getattr(model, 'module', model)
    optimizer = torch.optim.SGD(base.parameters(), lr=1e-3)
    for index in range(steps):
        optimizer.zero_grad()
        losses = model(pictures, samples, mode='loss')
        base.parse_losses(losses)[0].backward()
        if index == 0:
            grads = {n: p.grad for n, p in base.named_parameters() if p.grad is not None}
            gradients = {n: grad.clone() for n, grad in grads.items()}
            raw = {n: v.item() for n, v in losses.items() if n.startswith('raw')}
        optimizer.step()
    return dict(gradients=gradients, raw=raw, weights=base.state_dict())


def combined_steps(model, pictures, samples, steps=3):
    """Weights after some steps by what a weighting makes of the tasks' gradients."""
    base = getattr(model, 'module', model)
    wrapper = OptimWrapper(torch.optim.SGD(base.parameters(), lr=1e-3))
    TaskGradients(wrapper, model).install()
    for _ in range(steps):
        with wrapper.optim_context(model):
            losses = model(pictures, samples, mode='loss')
        wrapper.update_params(base.parse_losses(losses)[0])
    return {name: x.clone() for name, x in base.state_dict().items()}


def main(rank, world, store, out):
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    distributed.init_process_group('gloo', f'file://{store}', rank=rank, world_size=world)
    result = {}
    for weighting in WEIGHTINGS:
        for case in CASES:
            pictures, samples = part(case, rank)
            model = DistributedDataParallel(model_of(weighting))
            result[weighting, case] = step(model, pictures, samples)
    for kind in COMBINING:
        for case in CASES:
            model = DistributedDataParallel(model_of(kind))
            result['combined', kind, case] = combined_steps(model, *part(case, rank))
    pictures, samples = part('uneven', rank)
    pictures[[s.img_path == 'picture_3.jpg' for s in samples]] = float('nan')
    try:
        model_of('FixedWeighting')(pictures, samples, mode='loss')
    except FloatingPointError as error:
        result['nan'] = str(error)
    torch.save(result, f'{out}.{rank}')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
