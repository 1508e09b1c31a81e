"""Compare methods under one recipe: run a suite, or what it still lacks, and write its table.

Runs are made one after another. The same command goes on where an earlier one stopped, also within
a run; started twice, both share the runs between them. Written to the work dir after every run:
table.md, table.csv, delta_m.png (Delta_m against trainable parameters) and baselines.json (for the
option baselines of MultiTaskEvaluator).
Exit status: 1 if a run failed or was left out, 2 if nothing was run because the recipe changed.
"""

import argparse
import dataclasses
import os
import shlex
import signal
from pathlib import Path

from mtpeft.apis.data_options import RunData
from mtpeft.apis.read_config import add_config_arguments
from mtpeft.apis.suite import (
    ChangedRecipeError,
    ResultFiles,
    SuiteRunner,
    collect,
    load_suite,
    write_report,
)

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--suite', required=True, help='name of a file in configs/suites, or path of one'
    )
    parser.add_argument(
        'configs', nargs='*', metavar='CONFIG',
        help='run only these: paths of configs (those beside the suite are added) or labels',
    )  # fmt: skip
    parser.add_argument('--work-dir', help='default: work_dirs/suites/<name of the suite>')
    parser.add_argument(
        '--seeds', nargs='+', type=int, help='of all entries; default: those of the suite'
    )
    parser.add_argument(
        '--results', metavar='DIR',
        help='keep each finished result as a small file DIR/<suite>/<label>_seed<k>.json, to be '
             'committed; a run that has its file there is finished. --collect reads docs/results '
             'by default',
    )  # fmt: skip
    parser.add_argument(
        '--collect', action='store_true',
        help='run nothing, only write the table of what is there; runs made with other '
             '--cfg-options than the ones given are left out of it',
    )  # fmt: skip
    parser.add_argument('--dry-run', action='store_true', help='only print the commands')
    parser.add_argument(
        '--redo', action='store_true',
        help='make runs again whose recipe changed; their old folders are kept as seed<k>.old<n>',
    )  # fmt: skip
    add_config_arguments(parser, example='train_dataloader.batch_size=8, of all runs')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    suite = load_suite(args.suite, ROOT / 'configs' / 'suites')
    options = {**suite.cfg_options, **(args.cfg_options or {})}
    suite = dataclasses.replace(suite, cfg_options=options)
    tasks, size = (value and tuple(value) for value in (args.tasks, args.size))
    suite = suite.with_data(RunData(args.data_root, tasks, size))
    suite = suite.with_seeds(args.seeds) if args.seeds else suite
    suite, chosen = suite.with_configs(args.configs)
    work_dir = Path(args.work_dir or Path('work_dirs') / 'suites' / suite.name)
    results = args.results or (ROOT / 'docs' / 'results' if args.collect else None)
    results = results and ResultFiles(Path(os.path.relpath(Path(results) / suite.name)))

    def report() -> None:
        if args.results:
            results.keep(suite, collect(suite, work_dir, results))
        write_report(suite, work_dir, results)

    runner = SuiteRunner(
        suite, work_dir, os.path.relpath(ROOT / 'tools' / 'train.py'), redo=args.redo,
        say=lambda text: print(text, flush=True), after_run=report, results=results,
    )  # fmt: skip
    try:
        if args.dry_run:
            for run in runner.todo(chosen):
                print(f'# {run.reason}' if run.status == 'broken'
                      else shlex.join(runner.command(run)))  # fmt: skip
            return 0
        if not args.collect:
            runner.run(chosen)
    except ChangedRecipeError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        report()
        print('Interrupted. The same command goes on from here.')
        return 130
    report()
    print((work_dir / 'table.md').read_text().split('\n## Runs')[0])
    print(f'Written to {work_dir}: ' + ', '.join(sorted(p.name for p in work_dir.glob('*.*'))))
    # what is not run yet is no failure when collecting
    failed = {'failed', 'broken', 'changed'} | (
        set() if args.collect else {'missing', 'unfinished'}
    )
    runs = collect(suite, work_dir, results)
    runs = [run for run in runs if run.entry in chosen or args.collect]
    return int(any(run.status in failed for run in runs))


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == '__main__':
    # a run gets the time to end well however this process is asked to stop
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    raise SystemExit(main())
