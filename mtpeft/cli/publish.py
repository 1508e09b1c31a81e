"""``mtpeft publish``."""

import argparse
from pathlib import Path

DESCRIPTION = """Write what a run has trained as one small file to pass on.

OUT holds the trained tensors of the checkpoint (also the base, where the checkpoint has it), of
low-rank adapters the active components, and nothing that only a run needs (optimizer, schedulers,
log). Its metadata, JSON by key, names the base, the ranks, the tasks, the config (as JSON and as
text), the version of mtpeft, and the checkpoint it came from. OUT goes where a checkpoint goes: to
`init_model`, `mtpeft test`, or load_from; and `mtpeft.from_pretrained` loads it alone.

Of a run with an EMAHook, the average is written, which is also what is evaluated. --ema refuses a
checkpoint that has none, --no-ema writes the weights that were averaged.

--rank R, for checkpoints of a run with DyLoRAHook, cuts every adapter to its first R components.
--half stores values in half precision, half the size. --no-idle keeps one component of a shared
path that has no effect (what the published designs have in the last block), instead of all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', metavar='CKPT', help='checkpoint of a run (.pth)')
    parser.add_argument('target', metavar='OUT', help='file to write (.safetensors)')
    parser.add_argument(
        '--ema', action=argparse.BooleanOptionalAction,
        help='write the average over training, or the weights that were averaged; default: the '
             'average if there is one',
    )  # fmt: skip
    parser.add_argument(
        '--rank', type=int, metavar='R', help='rank to cut adapters to (runs with DyLoRAHook)'
    )
    parser.add_argument('--half', action='store_true', help='store float16')
    parser.add_argument(
        '--no-idle', action='store_true', help='one component of shared paths without effect'
    )
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')


def run(args: argparse.Namespace) -> None:
    from mtpeft.adapters.ranks.patterns import describe_ranks
    from mtpeft.apis.publish import choose, cut, describe, read, shorten_idle
    from mtpeft.checkpoints.digest import safetensors_bytes
    from mtpeft.checkpoints.files import CheckpointError
    from mtpeft.utils.atomic import write_or_exit

    source, target = Path(args.checkpoint), Path(args.target)
    if target.suffix != '.safetensors':
        raise SystemExit(f'Expected OUT to end in .safetensors, got {target}.')
    if target.exists() and not args.force:
        raise SystemExit(f'{target} exists. Give another name, or --force to replace it.')
    saved = read(source)
    state, weights = choose(saved, args.ema, source)
    if args.rank is not None:
        state = cut(saved, state, args.rank, source)
    if args.no_idle:
        state = shorten_idle(saved['meta'], state)
    if args.half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    metadata = describe(saved['meta'], weights, source)
    try:
        data = safetensors_bytes(state, metadata, 'Publish without --half.' if args.half else '')
    except CheckpointError as error:
        raise SystemExit(f'{source}: {error}') from error
    write_or_exit(data, target)
    sizes = source.stat().st_size, target.stat().st_size
    print(f'{source}: {sizes[0]:,} bytes -> {target}: {sizes[1]:,} bytes')
    numbers = sum(value.numel() for value in state.values())
    print(f'{len(state)} tensors ({weights}), {numbers:,} numbers')
    if metadata.get('rank_pattern'):
        print(describe_ranks(metadata['rank_pattern'], metadata.get('idle_streams', {})))
