"""Which rank do FAAR's rule and faar+ find where the right one is known?

The toy: y = D x with D of rank k, a LoRA of rank 64 on a layer of zeros, and the hooks of mtpeft.
Prints final ranks and mean |r - k| / k over seeds, and what the shrinking cost.

    python docs/measure_rank_toy.py --seeds 10
"""

import argparse
import statistics
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mtpeft.adapters import adapt_layer
from mtpeft.hooks import PDRSHook, PDRSPlusHook

SIZE = 96
RULES = {
    'published': lambda epochs: PDRSHook(rho=0.95),
    'published, debiased': lambda epochs: PDRSHook(rho=0.95, debias=True),
    'debiased, stopped at a quarter': lambda epochs: PDRSHook(
        rho=0.95, debias=True, shrink_until=epochs // 4
    ),
    'faar+': lambda epochs: PDRSPlusHook(eps=0.01),
}


class Silent:
    """Takes what a run would log."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def run(hook, rank, seed, epochs=60, steps=156, noise=0.0):
    """Train on the toy with a hook; the rank it ends with, and ||sBA - D||^2 / ||D||^2."""
    torch.manual_seed(1000 * seed + rank)
    target = torch.randn(SIZE, rank) @ torch.randn(rank, SIZE) * 0.3 / (SIZE * rank) ** 0.5
    layer = nn.Linear(SIZE, SIZE, bias=False)
    nn.init.zeros_(layer.weight)
    layer = adapt_layer(layer, dict(type='LoRA', rank=64))
    layer.weight.requires_grad_(False)
    layer.train()
    optimizer = torch.optim.AdamW(layer.adapter.parameters(), lr=2e-3, weight_decay=0.01)
    runner = SimpleNamespace(
        model=layer, optim_wrapper=OptimWrapper(optimizer), seed=seed, hooks=[hook], epoch=0,
        iter=0, max_epochs=epochs, max_iters=epochs * steps, logger=Silent(), visualizer=Silent(),
    )  # fmt: skip
    hook.before_train(runner)
    for runner.epoch in range(epochs):
        for step in range(steps):
            runner.iter = runner.epoch * steps + step
            hook.before_train_iter(runner, step)
            x = torch.randn(32, SIZE)
            wanted = x @ target.T
            if noise:
                wanted = wanted + noise * wanted.std() * torch.randn_like(wanted)
            optimizer.zero_grad()
            (layer(x) - wanted).square().mean().backward()
            optimizer.step()
            hook.after_train_iter(runner, step)
        hook.after_train_epoch(runner)
    hook.after_train(runner)
    with torch.no_grad():
        misfit = (layer.adapter.delta_weight(layer) - target).square().sum() / target.square().sum()
    return layer.adapter.ranks()['shared'], float(misfit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--ranks', type=int, nargs='+', default=[2, 8, 32])
    parser.add_argument('--epochs', type=int, default=60)
    parser.add_argument('--rules', nargs='+', default=list(RULES), choices=list(RULES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    print('| rule | error | ' + ' | '.join(f'rank {k}: found, misfit' for k in args.ranks) + ' |')
    print('|---|---|' + '---|' * len(args.ranks))
    for name in args.rules:
        found = {
            k: [run(RULES[name](args.epochs), k, s, args.epochs) for s in range(args.seeds)]
            for k in args.ranks
        }
        errors = [
            statistics.fmean(abs(found[k][seed][0] - k) / k for k in args.ranks)
            for seed in range(args.seeds)
        ]
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        means = [map(statistics.fmean, zip(*runs, strict=True)) for runs in found.values()]
        cells = [f'{rank:.1f}, {misfit:.4f}' for rank, misfit in means]
        print(f'| {name} | {statistics.fmean(errors):.3f} ± {spread:.3f} | '
              + ' | '.join(cells) + ' |', flush=True)  # fmt: skip


if __name__ == '__main__':
    main()
