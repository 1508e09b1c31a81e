"""Draw losses and metrics of one or several runs in one figure, and print what steps took.

Of a suite's work dir, all runs are drawn: seeds of a method have one colour. Curves come from
MMEngine's vis_data/scalars.json; of a run that was resumed, those of all its starts.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtpeft.utils.run_logs import RunLog, find_logs, read_log
from mtpeft.utils.suggest import hint
from mtpeft.utils.tables import table
from mtpeft.visualization.curves import draw_curves

_KINDS = ('.png', '.pdf', '.svg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work dir of a run, or of a suite')
    parser.add_argument(
        '--keys', nargs='+',
        help='what to draw, such as loss loss_depth depth/rmse lr; default: the losses of the '
             'tasks, their first metrics, and Delta_m',
    )  # fmt: skip
    parser.add_argument('--names', nargs='+', help='of the runs, in their order')
    parser.add_argument(
        '--smooth', type=int, default=1, metavar='N', help='mean over N points of long curves'
    )
    parser.add_argument(
        '--out', default='curves.png', help='figure to write: .png, .pdf or .svg (curves.png)'
    )
    args = parser.parse_args()
    if Path(args.out).suffix.lower() not in _KINDS:
        parser.error(f'--out {args.out}: expected a name that ends in {", ".join(_KINDS)}')
    if args.names and len(args.names) != len(args.runs):
        parser.error(f'--names: expected {len(args.runs)}, one a RUN, got {len(args.names)}')
    if args.smooth < 1:
        parser.error(f'--smooth {args.smooth}: expected a number of points, 1 or more')
    return args


def logs_of(paths: Sequence[str], names: Sequence[str] | None = None) -> dict[str, list[RunLog]]:
    """The logs of each run by its name; seeds of one method of a suite are together.

    Raises:
        SystemExit: a path has no log.
    """
    logs: dict[str, list[RunLog]] = {}
    several = len(paths) > 1
    for number, path in enumerate(paths):
        for found in find_logs(path):
            in_suite = found != Path(path)
            name = found.parent.name if in_suite else found.resolve().name
            if name.startswith('seed') and not in_suite:
                name = f'{found.resolve().parent.name} {name}'
            if names:
                name = f'{names[number]} {name}' if in_suite else names[number]
            elif in_suite and several:
                name = f'{Path(path).resolve().name} {name}'
            try:
                logs.setdefault(name, []).append(read_log(found))
            except FileNotFoundError as error:
                raise SystemExit(str(error)) from error
    return logs


def default_keys(known: Sequence[str]) -> list[str]:
    """Losses, the first metric of each task, Delta_m."""
    losses = [key for key in known if key == 'loss' or key.startswith('loss_')]
    metrics: dict[str, str] = {}
    for key in known:
        task, _, metric = key.partition('/')
        if metric and task not in ('rank', 'omega', 'mtl'):
            metrics.setdefault(task, key)
    return [*losses, *metrics.values(), *(['mtl/delta_m'] if 'mtl/delta_m' in known else [])]


def check_keys(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuse what no run has.

    Raises:
        SystemExit: the key, with the nearest ones.
    """
    for key in wanted:
        if key not in known:
            raise SystemExit(f"--keys: no run has '{key}'. " + hint(key, known))


def summary(logs: Mapping[str, Sequence[RunLog]], keys: Sequence[str]) -> str:
    """A line a run: steps, mean times, and the last value of each curve of an evaluation."""
    metrics = [key for key in keys if '/' in key]
    rows = []
    for name, runs in logs.items():
        for run in runs:
            last = [run.curve(key)[1][-1:] or ['-'] for key in metrics]
            seed = f' {run.path.name}' if len(runs) > 1 else ''
            rows.append([
                name + seed, max((r['iter'] for r in run.train), default=0),
                *(_seconds(run.mean(key)) for key in ('time', 'data_time')),
                *(v if isinstance(v, str) else f'{v:.4g}' for (v,) in last),
            ])  # fmt: skip
    return table(['run', 'steps', 's/step', 'of it data', *metrics], rows)


def _seconds(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def main() -> None:
    args = parse_args()
    logs = logs_of(args.runs, args.names)
    every = [run for runs in logs.values() for run in runs]
    known = list({key: None for run in every for key in run.keys})
    if args.keys:
        check_keys(args.keys, known)
    keys = args.keys or default_keys(known)
    if not keys:
        raise SystemExit('The logs have neither losses nor metrics; name others with --keys.')
    panels = {
        key: {name: [c for c in (run.curve(key) for run in runs) if c[0]]
              for name, runs in logs.items()}
        for key in keys
    }  # fmt: skip
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    label = 'epoch' if all(run.by_epoch for run in every) else 'iteration'
    draw_curves(panels, label, args.smooth).savefig(out)
    print(summary(logs, keys))
    print(f'Drawn in {out}.')


if __name__ == '__main__':
    main()
