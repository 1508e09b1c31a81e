"""Print and draw the ranks of a model's adapters, and how they shrank.

Of a work dir the last checkpoint is read. Ranks in brackets are of adapters without effect on any
output (such as the shared path of the last block, where every task has its own): they are never
shrunk, and no mean counts them. The way over training is in checkpoints of runs with a hook that
allocates ranks (PDRSHook, AdaLoRAHook, ...); a published .safetensors has the ranks alone.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from mtpeft.adapters.ranks.low_rank import COMMON
from mtpeft.adapters.ranks.patterns import (
    RankPattern,
    by_stage,
    describe_ranks,
    mean_rank,
    streams_of,
    without_idle,
)
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.utils.tables import table
from mtpeft.visualization.rank_picture import Trajectory, draw_ranks, short_names

_SUFFIXES = ('.pth', '.safetensors')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='WORK_DIR|CKPT', help='work dir, or a checkpoint')
    parser.add_argument(
        '--out', default='ranks.png', help='picture to write: .png, .pdf or .svg (ranks.png)'
    )
    return parser.parse_args()


def find_checkpoint(source: Path) -> Path:
    """``source`` itself, or the last checkpoint in it.

    Raises:
        SystemExit: the folder has none.
    """
    if not source.is_dir():
        return source
    last = source / 'last_checkpoint'
    if last.is_file():
        # the folder may have been moved since
        named = source / Path(last.read_text().strip()).name
        if named.is_file():
            return named
    files = [path for path in source.iterdir() if path.suffix in _SUFFIXES]
    if not files:
        raise SystemExit(
            f'There is no checkpoint in {source}: expected last_checkpoint, *.pth or '
            '*.safetensors. Name the work dir of one run (in a suite <work dir>/<method>/seed<k>), '
            'or a file.'
        )
    return max(files, key=lambda path: path.stat().st_mtime)


def read(path: Path) -> tuple[dict, RankPattern]:
    """A checkpoint and its rank pattern.

    Raises:
        SystemExit: it cannot be read, or has no low-rank adapters.
    """
    try:
        saved = safe_load(path)
    except (FileNotFoundError, CheckpointError) as error:
        raise SystemExit(str(error)) from error
    pattern = (saved.get('meta') or {}).get('rank_pattern')
    if not pattern:
        raise SystemExit(
            f"{path} says no ranks (no 'rank_pattern' in its meta): its model has no low-rank "
            'adapters, or it was not written by AdapterCheckpointHook.'
        )
    return saved, pattern


def trajectory_of(saved: Mapping) -> Trajectory | None:
    """How ranks shrank, ``None`` where the file does not say."""
    states = [state for state in saved.values() if isinstance(state, Mapping)]
    history = next((state['history'] for state in states if state.get('history')), None)
    if history is None:
        return None
    return Trajectory.of(history, saved['meta'].get('epoch', 0), saved['meta'].get('iter', 0))


def ranks_table(pattern: RankPattern, idle: Mapping[str, list[str]]) -> str:
    """A line a layer, then means by stage and over all."""
    streams, used = streams_of(pattern), without_idle(pattern, idle)
    idle_by_stage = by_stage({layer: idle.get(layer, []) for layer in pattern})
    tasks = [stream for stream in streams if stream not in COMMON]
    columns = {name: [name] for name in streams} | ({'tasks': tasks} if len(tasks) > 1 else {})
    rows = []
    for stage, layers in by_stage(pattern).items():
        names = short_names(list(layers))
        for name, (layer, ranks) in zip(names, layers.items(), strict=True):
            cells = [
                f'({ranks[s]})' if s in idle_by_stage[stage][layer] else ranks.get(s, '-')
                for s in streams
            ]
            rows.append([f'{stage} {name}', *cells, *[''] * (len(columns) - len(streams))])
    blank = [''] * (len(columns) + 1)
    means = {f'mean of {stage}': layers for stage, layers in by_stage(used).items()}
    means = means | {'mean': used} if len(means) > 1 else {'mean': used}
    rows.append(blank)
    for name, layers in means.items():
        values = (mean_rank(layers, *names) for names in columns.values())
        rows.append([name, *('-' if value is None else value for value in values)])
    return table(['layer', *columns], rows)


def adapter_parameters(saved: Mapping) -> int:
    """Numbers in the adapters of a checkpoint, which holds active components only."""
    return sum(v.numel() for k, v in saved['state_dict'].items() if '.adapter.' in k)


def _title(meta: Mapping, used: RankPattern) -> str:
    """What the picture shows; the file is named in what is printed."""
    after = f' after {meta["iter"]:,} iterations' if meta.get('iter') else ''
    return f'Rank of each layer{after} (mean {mean_rank(used):.1f})'


def main() -> None:
    args = parse_args()
    path = find_checkpoint(Path(args.source))
    saved, pattern = read(path)
    idle, trajectory = saved['meta'].get('idle_streams', {}), trajectory_of(saved)
    print(f'{path}: {describe_ranks(pattern, idle)}')
    print(ranks_table(pattern, idle))
    print(f'Effective adapter parameters: {adapter_parameters(saved):,}')
    if trajectory is None:
        print('The file does not say how ranks shrank (only checkpoints of runs with a hook that '
              'allocates ranks do).')  # fmt: skip
    else:
        start = mean_rank(without_idle(trajectory.patterns[0], idle))
        print(f'Shrunk {len(trajectory.times) - 1} times up to {trajectory.unit} {trajectory.end}, '
              f'from mean rank {start:.2f}.')  # fmt: skip
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    title = _title(saved['meta'], without_idle(pattern, idle))
    draw_ranks(pattern, trajectory, title, idle).savefig(out)
    print(f'Drawn in {out}.')


if __name__ == '__main__':
    main()
