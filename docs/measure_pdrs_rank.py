"""Where does FAAR's rule end at the paper's scale, with a margin of 0 and of 1?

Draws the scores of many streams, 300 epochs of 156 steps as on PASCAL-Context, and shrinks them
as PDRSHook does. A component's score in a step is `usefulness x |t|`, or 0 where it was not in use,
with t of Student's distribution (3 degrees of freedom) and a size of the step that all components
share (log-normal). Usefulness is log-normal too. Prints the mean of the final ranks over seeds.

    python docs/measure_pdrs_rank.py
"""

import argparse
import statistics

import numpy as np

EPOCHS, STEPS = 300, 156


def final_ranks(margin, spread, noise, seed, streams=64, rank=64, rho=0.95, beta=0.98):
    """Ranks ``(streams,)`` at the end. ``spread`` and ``noise``: deviations of the logarithms."""
    rng = np.random.default_rng((seed, int(100 * spread), int(100 * noise)))
    useful = np.exp(spread * rng.standard_normal((streams, rank)))
    score, active = np.zeros((streams, rank)), np.full(streams, rank)
    for _ in range(EPOCHS):
        width = active.max()
        useful, score = useful[:, :width], score[:, :width]
        place = np.arange(width)
        # beta^k of the steps before the last of an epoch, summed up in one go
        decay = beta ** np.arange(STEPS - 1, -1, -1.0)
        total = np.zeros_like(score)
        for step in range(STEPS):
            used = place < rng.integers(1, active + 1)[:, None]
            size = np.exp(noise * rng.standard_normal((streams, 1)))
            seen = np.abs(rng.standard_t(3, (streams, width))) * size
            total += decay[step] * (used * seen)
        score = beta**STEPS * score + (1 - beta) * total * useful
        order = np.argsort(-score, axis=1, kind='stable')
        score, useful = (np.take_along_axis(x, order, 1) for x in (score, useful))
        covered = score.cumsum(1) / score.sum(1, keepdims=True)
        kept = (covered < rho * (1 - 1e-12)).sum(1) + 1 + margin
        active = np.minimum(active, np.maximum(kept, 1 + margin))
        score[place >= active[:, None]] = 0
    return active


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--spreads', type=float, nargs='+', default=[0, 0.5, 1])
    parser.add_argument('--noises', type=float, nargs='+', default=[0, 1])
    args = parser.parse_args()
    print('| usefulness | size of a step | margin 0 | margin 1 |')
    print('|---|---|---|---|')
    for spread in args.spreads:
        for noise in args.noises:
            cells = []
            for margin in (0, 1):
                means = [final_ranks(margin, spread, noise, s).mean() for s in range(args.seeds)]
                cells.append(f'{statistics.fmean(means):.2f} ± {statistics.stdev(means):.2f}')
            print(f'| {spread} | {noise} | {cells[0]} | {cells[1]} |', flush=True)


if __name__ == '__main__':
    main()
