"""What one more task of MTLoRA must cost: its operators alone, one after another.

Random tensors of the right shapes, the fewest PyTorch operators for each step that the method
defines for a task's own lane, in merged inference or, with --step, with their gradients: window
order, shared work, dispatch among adapters, checks, losses and the optimizer are left out. What a
model takes beyond this is overhead; what it takes less, it gained by running fewer operators.
"""

import argparse
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mtpeft.benchmark import multiply_adds, time_in_turns
from mtpeft.benchmark.rounds import spread
from mtpeft.ops.levels_conv import convolve_levels
from mtpeft.utils.allocator import keep_freed_memory
from mtpeft.utils.tables import table

WIDTHS, LEVELS, TASK_RANK, HIDDEN, CHANNELS = (96, 192, 384, 768), (18, 36, 72, 144), 4, 1080, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=224, help='side of the picture')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=31)
    parser.add_argument('--step', action='store_true', help='with gradients, not merged')
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    steps = further_task(args.batch_size, args.size, args.step)
    calls = {name: with_gradients(step) if args.step else torch.no_grad()(step)
             for name, step in steps.items()}  # fmt: skip
    times = time_in_turns(calls, args.rounds, 3)
    rows, total = [], [0.0, 0]
    for name, call in calls.items():
        seconds, count = spread(times[name])['median'], multiply_adds(call)
        rows.append([name, f'{seconds * 1e3:.2f}', f'{count / 1e9:.3f}'])
        total = [total[0] + seconds, total[1] + count]
    rows.append(['all', f'{total[0] * 1e3:.2f}', f'{total[1] / 1e9:.3f}'])
    print(table(['operators of one task', 'ms (median)', 'G multiply-adds'], rows))


def with_gradients(step: Callable[[], Tensor | Sequence[Tensor]]) -> Callable[[], object]:
    """The step, then the gradients of all that it reads and that has one."""
    outputs = _as_list(step())
    upstream, leaves = [torch.randn_like(out) for out in outputs], _leaves(outputs)
    return lambda: torch.autograd.grad(_as_list(step()), leaves, upstream)


def _leaves(outputs: Sequence[Tensor]) -> list[Tensor]:
    nodes, seen = [out.grad_fn for out in outputs], {}
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen[node] = getattr(node, 'variable', None)
            nodes += [before for before, _ in node.next_functions]
    return [leaf for leaf in seen.values() if leaf is not None]


def further_task(batch: int, size: int, train: bool = False) -> dict:
    """The steps by name, each of all four stages."""
    stages = [_stage(batch, size // 4 >> i, width) for i, width in enumerate(WIDTHS)]
    levels = [torch.randn(batch, c, s, s) for c, s in zip(LEVELS, _sides(size), strict=True)]
    joined = torch.randn(HIDDEN, sum(LEVELS), 1, 1)
    last = torch.randn(CHANNELS, HIDDEN, 1, 1)
    wide = torch.randn(batch, HIDDEN, *levels[0].shape[2:])
    logits = torch.randn(batch, CHANNELS, *levels[0].shape[2:])
    if train:
        trained = [t for stage in stages for name, t in stage.items() if name != 'reduction']
        for tensor in [*trained, *levels, joined, last, wide, logits]:
            tensor.requires_grad_()

    return {
        'proj, fc1, fc2: the frozen output and a product': lambda: _each(_products, stages),
        'norm before the MLP': lambda: [F.layer_norm(s['x'], s['x'].shape[-1:]) for s in stages],
        'GELU': lambda: [F.gelu(s['hidden']) for s in stages],
        'residuals': lambda: _each(_residuals, stages),
        'patch merging, its norm, projection': lambda: [_merging(s, train) for s in stages],
        "head's first convolution, levels at their own size": lambda: convolve_levels(
            levels, LEVELS, joined, None
        ),
        "head's ReLU and last convolution": lambda: F.conv2d(wide.relu(), last),
        'logits at the size of the picture': lambda: F.interpolate(
            logits, size=(size, size), mode='bilinear'
        ),
    }


def _as_list(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _each(step: Callable[[dict], list[Tensor]], stages: Sequence[dict]) -> list[Tensor]:
    return [out for stage in stages for out in step(stage)]


def _sides(size: int) -> list[int]:
    """Of the levels behind patch merging; the last stage has none."""
    return [size // 8, size // 16, size // 32, size // 32]


def _stage(batch: int, side: int, width: int) -> dict[str, Tensor]:
    stage = WIDTHS.index(width)
    merges = stage < len(WIDTHS) - 1
    return dict(
        x=torch.randn(batch * side**2, width),
        frozen=torch.randn(batch * side**2, width),
        hidden=torch.randn(batch * side**2, 4 * width),
        narrow=torch.randn(TASK_RANK, width),
        wide=torch.randn(TASK_RANK, 4 * width),
        map=torch.randn(batch, side // 2, 2, side // 2, 2, width) if merges else torch.empty(0),
        # the projection of the level, and the linear map of patch merging that it is joined to
        project=torch.randn(2 * width if merges else width, LEVELS[stage]),
        reduction=torch.randn(4 * width, 2 * width) / width**0.5 if merges else torch.empty(0),
        joined=torch.randn(4 * width if merges else width, LEVELS[stage]),
    )


def _products(stage: dict[str, Tensor]) -> list[Tensor]:
    x, frozen, hidden, a, b = (stage[k] for k in ('x', 'frozen', 'hidden', 'narrow', 'wide'))
    return [
        torch.addmm(frozen, x @ a.T, a),
        torch.addmm(hidden, x @ a.T, b),
        torch.addmm(frozen, hidden @ b.T, a),
    ]


def _residuals(stage: dict[str, Tensor]) -> list[Tensor]:
    return [stage['x'] + stage['frozen'], stage['x'] + stage['frozen']]


def _merging(stage: dict[str, Tensor], train: bool) -> Tensor:
    x = stage['map']
    if not x.numel():
        return stage['x'] @ stage['joined']
    rows = x.permute(0, 1, 3, 4, 2, 5).reshape(-1, 4 * x.shape[-1])
    # inference keeps the two maps joined
    both = stage['reduction'] @ stage['project'] if train else stage['joined']
    return F.layer_norm(rows, rows.shape[-1:]) @ both


if __name__ == '__main__':
    main()
