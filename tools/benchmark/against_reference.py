"""Measure methods beside the reference MTLoRA, in one run and in turns.

A training step is forward pass, losses, backward pass, clipping and AdamW, on normalised noise that
is on the device already; dropout and stochastic depth are 0 for all, or, by --as-configured, what
the configs say for all, the reference included. Hooks are not part of it (so ranks are whole:
nothing is pruned). Inference gives logits at the input's size. Ratios are formed round by round:
training steps over the reference's step, inference and merged inference over the reference's
inference, inference of one task over a plain frozen backbone with one head. Memory is measured
before, each call in a process of its own.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import timm
import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.benchmark import (
    CLOCKS,
    PROMPT_FREE,
    Call,
    inference,
    multiply_adds,
    peak_memory,
    product_rate,
    random_batch,
    ratio,
    spread,
    time_in_turns,
    training_step,
    variants,
)
from mtpeft.registry import MODELS
from mtpeft.utils.allocator import keep_freed_memory
from mtpeft.utils.compiling import compile_parts
from mtpeft.utils.tables import table

ROOT = Path(__file__).parents[2]
CONFIGS = dict(
    mtlora='configs/mtlora/mtlora-r64_swin-t_pascal.py',
    faar='configs/faar/faar_swin-t_pascal.py',
    sinewich='configs/sinewich/sinewich-r64_swin-t_pascal.py',
    tadformer='configs/tadformer/tadformer-r64_swin-t_pascal.py',
    full_finetune='configs/full_finetune/full_finetune_swin-t_pascal.py',
)
FROZEN = 'configs/decoders_only/decoders_only_swin-t_pascal.py'
REFERENCE, PLAIN = 'reference', 'frozen'
# FAAR's consensus needs every task, so one task alone is measured without it
ONE_TASK = dict(mtlora='mtlora', faar='faar without XT-Cons')
STEP, INFERENCE, MERGED = 'step', 'inference', 'merged inference'
ONE, ONE_MERGED = 'one task', 'one task merged'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--variants', nargs='*', choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument('--sizes', type=int, nargs='+', default=[224, 448], help='sides')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=9, help='measured; medians count')
    parser.add_argument('--warmup', type=int, default=1, help='rounds before that')
    parser.add_argument('--threads', type=int, help="of a CPU; default: PyTorch's")
    parser.add_argument('--device', default=get_device())
    parser.add_argument('--bf16', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--compile', action='store_true', help='torch.compile every variant')
    parser.add_argument('--channels-last', action='store_true', help='layout of every variant')
    parser.add_argument(
        '--clock', choices=CLOCKS, default='wall', help="'cpu' with one thread only"
    )
    parser.add_argument('--attention', choices=('timm', 'plain', 'fused'), default='timm',
                        help="of the reference; 'timm': as timm's Swin does")  # fmt: skip
    parser.add_argument('--task', default='semseg', help='the one task that is asked for')
    parser.add_argument('--rank', type=int, help='another rank for every adapter')
    parser.add_argument(
        '--as-configured', action='store_true', help='with dropout and stochastic depth'
    )
    parser.add_argument('--no-memory', action='store_true')
    parser.add_argument('--no-times', action='store_true')
    parser.add_argument('--json', metavar='FILE', help='where to write the result')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change all configs',
    )
    return parser.parse_args()


class Cases:
    """The calls to measure at one size, ``'<variant>: <what>'``, each built when asked for."""

    def __init__(self, args: argparse.Namespace, size: int) -> None:
        self.args, self.size = args, (size, size)
        self.skipped: dict[str, str] = {}
        self.differences: dict[str, float] = {}
        self._models: dict[str, nn.Module] = {}

    def names(self) -> list[str]:
        """All of them, those included that a model may turn out not to have."""
        known = [REFERENCE, *self.args.variants]
        names = [f'{v}: {what}' for what in (STEP, INFERENCE) for v in known]
        names += [f'{v}: {MERGED}' for v in self.args.variants if v != 'full_finetune']
        single = [ONE_TASK[v] for v in self.args.variants if v in ONE_TASK]
        if single:
            names += [f'{PLAIN}: {ONE}']
            names += [f'{v}: {what}' for what in (ONE, ONE_MERGED) for v in single]
        return names

    def build(self, name: str, compiled: bool = False) -> Call | None:
        """The call; ``None``, with the reason in ``skipped``, where there is none."""
        variant, what = name.split(': ')
        model = self._model(variant, what in (MERGED, ONE_MERGED))
        if model is None:
            self.skipped[name] = 'the model has no merge_adapters()'
            return None
        options = {}
        if what in (ONE, ONE_MERGED) and variant != PLAIN:
            if not variants.can_choose_tasks(model):
                self.skipped[name] = 'the model cannot be asked for some of its tasks'
                return None
            options = dict(tasks=[self.args.task])
        if compiled:
            compile_parts(model)
        if what == STEP:
            samples = random_batch(model.tasks, self.args.batch_size, self.size)['data_samples']
            samples = [sample.to(self.args.device) for sample in samples]
            # a small rate: noise teaches nothing, and losses stay finite for any number of rounds
            optimizer = dict(self._config('mtlora').optim_wrapper.optimizer, lr=1e-6)
            return training_step(model, self._inputs(), samples, optimizer, bf16=self.args.bf16)
        return inference(model, self._inputs(), self.args.bf16, **options)

    def _inputs(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.args.batch_size, 3, *self.size, generator=generator)
        return self._placed(x)

    def _placed(self, x):
        layout = torch.channels_last if self.args.channels_last else torch.contiguous_format
        return x.to(self.args.device, memory_format=layout)

    def _model(self, variant: str, merged: bool) -> nn.Module | None:
        """One model for step and inference, another one that is merged."""
        key = f'{variant} merged' if merged else variant
        if key not in self._models:
            torch.manual_seed(0)
            cfg = self._config(variant)
            if variant == REFERENCE:
                source = runpy.run_path(str(Path(__file__).with_name('reference_mtlora.py')))
                model = source['from_config'](cfg.model, self.size, self.args.attention)
            else:
                model = MODELS.build(variants.with_size(cfg, self.size).model)
            model = self._placed(variants.wake(model))
            if merged and not variants.can_merge(model):
                return None
            if merged:
                call = inference(model, self._inputs()[:1])
                before = call()
                variants.merge(model)
                self.differences[variant] = variants.difference(call(), before)
            self._models[key] = model
        return self._models[key]

    def _config(self, variant: str) -> Config:
        name = {REFERENCE: 'mtlora', ONE_TASK['faar']: 'faar'}.get(variant, variant)
        cfg = Config.fromfile(ROOT / CONFIGS.get(name, FROZEN))
        cfg.merge_from_dict(self.args.cfg_options or {})
        if self.args.rank:
            cfg = variants.with_rank(cfg, self.args.rank)
        if variant == ONE_TASK['faar']:
            cfg.model.necks[1].xt_cons = None
        if variant == PLAIN:
            cfg = variants.with_tasks(cfg, {self.args.task: cfg.model.tasks[self.args.task]})
        return cfg if self.args.as_configured else variants.without_dropout(cfg)


def base_of(name: str) -> str:
    """What a call's time and memory are divided by."""
    what = name.split(': ')[1]
    bases = {STEP: f'{REFERENCE}: {STEP}', ONE: f'{PLAIN}: {ONE}', ONE_MERGED: f'{PLAIN}: {ONE}'}
    return bases.get(what, f'{REFERENCE}: {INFERENCE}')


def measure_size(args: argparse.Namespace, size: int) -> dict:
    cases, memory, times, counts = Cases(args, size), {}, {}, {}
    if not args.no_memory:
        for name in cases.names():
            found = memory_of(name, size)
            if 'skipped' in found:
                cases.skipped[name] = found['skipped']
            else:
                memory[name] = found
    if not args.no_times:
        calls = {name: call for name in cases.names() if (call := cases.build(name))}
        # counted before torch.compile, under which nothing can be counted
        counts = {name: multiply_adds(call) for name, call in calls.items()}
        if args.compile:
            calls = {name: cases.build(name, compiled=True) for name in calls}
        times = time_in_turns(calls, args.rounds, args.warmup, args.device, args.clock)
    rows = {}
    for name in dict.fromkeys([*times, *memory]):
        row, base = rows.setdefault(name, {}), base_of(name)
        if name in times:
            seconds = spread(times[name])
            row.update(seconds=seconds, ratio=ratio(times[name], times[base]),
                       multiply_adds=counts[name],
                       pictures_per_second=args.batch_size / seconds['median'])  # fmt: skip
        if name in memory:
            row.update(memory=memory[name])
            parts = ('above_mb', 'peak_mb')
            row['memory_ratio'] = {p: memory[name][p] / memory[base][p] for p in parts}
    return dict(size=size, rows=rows, skipped=cases.skipped, merged_difference=cases.differences)


def memory_of(name: str, size: int) -> dict:
    """Memory of one call, in a process of its own; ``skipped`` where there is no such call."""
    command = [sys.executable, __file__, *sys.argv[1:], '--memory-of', name, '--sizes', str(size)]
    environ = {**os.environ, **PROMPT_FREE}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'Measuring the memory of {name} failed:\n{done.stderr}')
    return json.loads(done.stdout.splitlines()[-1])


def print_memory(args: argparse.Namespace) -> None:
    """The work of that process."""
    cases = Cases(args, args.sizes[0])
    call = cases.build(args.memory_of, args.compile)
    if call is None:
        print(json.dumps(dict(skipped=cases.skipped[args.memory_of])))
        return
    call()  # the optimizer's state, and what is made once, belong to what is held
    print(json.dumps(peak_memory(call, args.device)))


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    MMLogger.get_instance('benchmark', log_level='ERROR')
    init_default_scope('mtpeft')
    if args.memory_of:
        print_memory(args)
        return
    device = torch.device(args.device)
    if device.type == 'cpu':
        keep_freed_memory()  # as tools/train.py does
    result = dict(
        torch=torch.__version__, timm=timm.__version__, device=_name(device),
        threads=torch.get_num_threads(), batch_size=args.batch_size, rounds=args.rounds,
        clock=args.clock, bf16=args.bf16, compile=args.compile, channels_last=args.channels_last,
        attention_of_the_reference=args.attention, rank=args.rank,
        as_configured=args.as_configured,
        product_multiply_adds_per_second=product_rate(device, args.bf16),
    )  # fmt: skip
    result['sizes'] = []
    for size in args.sizes:
        found = measure_size(args, size)
        result['sizes'].append(found)
        print(f'\n{size} x {size}, batch {args.batch_size}')
        print_rows(found['rows'], result['product_multiply_adds_per_second'])
        for name, reason in found['skipped'].items():
            print(f'not measured: {name}: {reason}')
        if args.json:
            Path(args.json).write_text(json.dumps(result, indent=2), encoding='utf-8')


def print_rows(rows: dict, ceiling: float) -> None:
    cells = []
    for name, row in rows.items():
        line = [name, *['-'] * 8]
        if 'seconds' in row:
            seconds, over = row['seconds']['median'], row['ratio']
            rate = row['multiply_adds'] / seconds / ceiling
            line[1:7] = [f'{seconds:.4f}', f'{over["median"]:.3f}',
                         f'{over["low"]:.3f} to {over["high"]:.3f}',
                         row['pictures_per_second'], row['multiply_adds'] / 1e9, rate]  # fmt: skip
        if 'memory' in row:
            line[7:] = [row['memory']['above_mb'], f'{row["memory_ratio"]["above_mb"]:.3f}']
        cells.append(line)
    header = ['', 'seconds', 'ratio', 'quartiles', 'pictures/s', 'G multiply-adds', 'of ceiling',
              'MB above', 'ratio']  # fmt: skip
    print(table(header, cells))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)


if __name__ == '__main__':
    main()
