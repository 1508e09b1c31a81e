"""Write what a run has trained as one small file to pass on.

    python tools/model_converters/publish_model.py CKPT.pth OUT.safetensors [--no-ema] [--half]
        [--rank R] [--no-idle]

OUT holds the trained tensors of the checkpoint (also the base, where the checkpoint has it), of
low-rank adapters the active components, and nothing that only a run needs (optimizer, schedulers,
log). Its metadata, JSON by key, names the base, the ranks, the tasks, the config's text, the
version of mtpeft, and the checkpoint it came from. OUT goes where a checkpoint goes: to
`init_model`, tools/test.py, or load_from.

Of a run with an EMAHook, the average is written, which is also what is evaluated. --ema refuses a
checkpoint that has none, --no-ema writes the weights that were averaged.

--rank R, for checkpoints of a run with DyLoRAHook, cuts every adapter to its first R components.
--half stores values in half precision, half the size. --no-idle keeps one component of a shared
path that has no effect (what the published designs have in the last block), instead of all.
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mtpeft
from mtpeft.adapters.ranks.patterns import describe_ranks
from mtpeft.checkpoints.digest import safetensors_bytes
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.rank_truncate import truncate
from mtpeft.utils.atomic import write_or_exit

_AVERAGED = 'ema_state_dict'
_PREFIX = 'module.'
_META = ('base', 'rank_pattern', 'idle_streams', 'tasks', 'cfg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    return parser.parse_args()


def read(path: Path) -> dict:
    """A checkpoint that a run wrote.

    Raises:
        SystemExit: the file is none.
    """
    try:
        saved = safe_load(path)
    except (FileNotFoundError, CheckpointError) as error:
        raise SystemExit(str(error)) from error
    state = saved.get('state_dict')
    has_state = isinstance(state, Mapping) and all(map(torch.is_tensor, state.values()))
    if not has_state or not isinstance(saved.get('meta'), Mapping) or 'epoch' not in saved['meta']:
        raise SystemExit(
            f"{path} is no checkpoint of a run: expected 'state_dict' with tensors and 'meta' with "
            f'the epoch, got {", ".join(map(repr, saved)) or "nothing"}. Give a file such as '
            'epoch_10.pth or best_*.pth from a work dir.'
        )
    return saved


def choose(saved: Mapping, ema: bool | None, path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict to publish, and ``'averaged'`` or ``'trained'``.

    MMEngine's ``EMAHook`` writes the average as ``state_dict`` and what was averaged beside it.
    """
    if _AVERAGED not in saved:
        if ema:
            raise SystemExit(
                f'{path} has no average (the run had no EMAHook). Leave --ema out to publish the '
                'weights that it has.'
            )
        return saved['state_dict'], 'trained'
    if ema is not False:
        return saved['state_dict'], 'averaged'
    beside = {
        key.removeprefix(_PREFIX): value
        for key, value in saved[_AVERAGED].items() if key.startswith(_PREFIX)
    }  # fmt: skip
    # without update_buffers, the average has no buffers of its own
    return {**saved['state_dict'], **beside}, 'trained'


def cut(saved: dict, state: dict[str, Tensor], rank: int, path: Path) -> dict[str, Tensor]:
    """``state`` with adapters of at most ``rank``; the meta of ``saved`` says so afterwards."""
    run = saved.get('dylora')
    if run is None:
        raise SystemExit(
            f'{path} was not trained for other ranks than its own: --rank needs a run with '
            'DyLoRAHook, whose components are in order of their use.'
        )
    if rank < 1:
        raise SystemExit(f'Expected --rank to be at least 1, got {rank}.')
    state, pattern = truncate(state, run['components'], rank, run['rescale'])
    saved['meta']['rank_pattern'] = pattern
    return state


def shorten_idle(meta: dict, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with one component of each shared path that has no effect; ``meta`` says so too."""
    state = dict(state)
    for layer, streams in meta.get('idle_streams', {}).items():
        keys = {f'{layer}.adapter.A': 0, f'{layer}.adapter.B': 1}
        if 'shared' in streams and all(key in state for key in keys):
            state |= {key: state[key].narrow(axis, 0, 1) for key, axis in keys.items()}
            meta['rank_pattern'][layer]['shared'] = 1
    return state


def describe(meta: Mapping, weights: str, path: Path) -> dict[str, Any]:
    """The metadata of a published file."""
    known = {key: meta[key] for key in _META if key in meta}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(
        known, weights=weights, mtpeft_version=mtpeft.__version__,
        source=dict(name=path.name, sha256=digest, epoch=meta['epoch'], iter=meta.get('iter')),
    )  # fmt: skip


def main() -> None:
    args = parse_args()
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


if __name__ == '__main__':
    main()
