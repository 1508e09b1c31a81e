"""One of WORLD_SIZE processes: five steps of each method through a DDP-wrapped MultiTaskModel.

python method_ddp_worker.py RANK WORLD_SIZE STORE OUT
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from helpers.adapter_grid import stir
from helpers.backbones import TINY
from mmengine.model import MMDistributedDataParallel
from torch import distributed

from mtpeft.registry import MODELS
from mtpeft.structures import MultiTaskDataSample

TASKS = ('semseg', 'sal', 'depth')
# pictures 0..3 and what they have labels of: uneven on two processes
LABELLED = (TASKS, ('sal', 'depth'), ('semseg',), ('sal',))
STEPS = 5
MTLORA = dict(type='MTLoRA', rank=2, task_rank=1, dropout=0.0)
TADFORMER = dict(type='TADFormer', rank=2, dropout=0.0)
METHODS = dict(
    mtlora=dict(
        plugins=[
            dict(cfg=MTLORA, targets=['qkv']),
            dict(cfg=MTLORA, targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    ),
    # one base, tokens and Clock Net for all tasks, layers and the decoder
    sinewich=dict(
        plugins=[
            dict(cfg=dict(type='LoRA', rank=2), targets=['qkv', 'proj', 'fc1']),
            dict(cfg=dict(type='SineAWB', rank=2), targets=['fc2'], lanes='task'),
        ],
        clock=dict(tokens='prepend', channels=TINY['timm Swin']['embed_dim']),
        decoder=dict(type='SharedBaseDecoder', channels=8),
    ),
    # prompts and gates; prompt norms of all blocks but the last of a stage are unused
    tadformer=dict(
        type='TADFormerBackbone',
        plugins=[
            dict(cfg=TADFORMER, targets=['qkv']),
            dict(cfg=TADFORMER, targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    ),
    # one hypernetwork for all layers, recomputed in the backward pass; no shared stream
    hyperformer=dict(
        plugins=[
            dict(
                cfg=dict(type='HyperFormer', width=4, embedding=8, scale=20.0),
                targets=['proj', 'fc2'],
                lanes='task',
            ),
        ],
        streams='network',
        with_cp=True,
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    ),
)


def model(method):
    torch.manual_seed(0)
    method = dict(METHODS[method])
    decoder = method.pop('decoder')
    backbone = {**TINY['timm Swin'], 'drop_path_rate': 0.0}
    net = MODELS.build(
        dict(
            type='MultiTaskModel',
            tasks=TASKS,
            backbone={
                'type': 'AdapterBackbone',
                'backbone': backbone,
                'train_also': ['block_norms', 'relative_position_bias_table', 'reduction'],
                **method,
            },
            necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4))],
            decoder=decoder,
        )
    )
    stir(net, 0.1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # its batch statistics are each process's own
    return net.double()  # small gradients move a parameter too


def batch(indices):
    generator = torch.Generator().manual_seed(5)
    pictures = torch.randn(len(LABELLED), 3, 64, 64, generator=generator)
    samples = []
    for i, tasks in enumerate(LABELLED):
        sample = MultiTaskDataSample(metainfo=dict(img_path=str(i), img_shape=(64, 64)))
        labels = dict(
            semseg=torch.randint(0, 21, (1, 64, 64), generator=generator),
            sal=torch.randint(0, 2, (1, 64, 64), generator=generator),
            depth=torch.rand(1, 64, 64, generator=generator) + 0.5,
        )
        labels['depth'][:, : 10 * i] = 0  # another number of valid pixels in each
        for task in tasks:
            sample.set_gt(task, labels[task])
        samples.append(sample)
    return pictures[indices].double(), [samples[i] for i in indices]


def train(net, indices):
    base = getattr(net, 'module', net)
    # SGD: AdamW would turn rounding of nearly zero gradients into whole steps
    optimizer = torch.optim.SGD([p for p in base.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses = net(*batch(indices), mode='loss')
        base.parse_losses(losses)[0].backward()
        optimizer.step()
    return {n: p.detach().clone() for n, p in base.named_parameters() if p.requires_grad}


def main(rank, world, store, out):
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    distributed.init_process_group('gloo', f'file://{store}', rank=rank, world_size=world)
    for method in METHODS:
        net = MMDistributedDataParallel(model(method), device_ids=None, broadcast_buffers=False)
        torch.save(train(net, [2 * rank, 2 * rank + 1]), f'{out}.{method}.{rank}')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
