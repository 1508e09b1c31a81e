"""``mtpeft compare``."""

import argparse
import dataclasses
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from mtpeft.cli.config_arguments import add_config_arguments

if TYPE_CHECKING:
    from mtpeft.apis.suite import Entry, Suite

DESCRIPTION = """Compare methods under one recipe: run what a suite still lacks, write its table.

Runs are made one after another. The same command goes on where an earlier one stopped, also within
a run; started twice, both share the runs between them. Written to the work dir after every run:
table.md, table.csv, delta_m.png (Delta_m against trainable parameters) and baselines.json (for the
option baselines of MultiTaskEvaluator).
Exit status: 1 if a run failed or was left out, 2 if nothing was run because the recipe changed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace) -> int:
    # a run gets the time to end well however this process is asked to stop
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        return _compare(args)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _compare(args: argparse.Namespace) -> int:
    from mtpeft.apis.suite import (
        ChangedRecipeError,
        ResultFiles,
        SuiteRunner,
        collect,
        write_report,
    )
    from mtpeft.utils.shipped import shipped_root

    root = shipped_root()
    suite, chosen = _suite(args, root)
    work_dir = Path(args.work_dir or Path('work_dirs') / 'suites' / suite.name)
    results = args.results or (_kept(root) if args.collect else None)
    results = results and ResultFiles(Path(os.path.relpath(Path(results) / suite.name)))

    def report() -> None:
        if args.results:
            results.keep(suite, collect(suite, work_dir, results))
        write_report(suite, work_dir, results)

    runner = SuiteRunner(
        suite, work_dir, os.path.relpath(root / 'tools' / 'train.py'), redo=args.redo,
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


def _suite(args: argparse.Namespace, root: Path) -> tuple['Suite', tuple['Entry', ...]]:
    """What is compared, and the entries that are to be run."""
    from mtpeft.apis.data_options import RunData
    from mtpeft.apis.suite import load_suite

    suite = load_suite(args.suite, root / 'configs' / 'suites')
    options = {**suite.cfg_options, **(args.cfg_options or {})}
    suite = dataclasses.replace(suite, cfg_options=options)
    tasks, size = (value and tuple(value) for value in (args.tasks, args.size))
    suite = suite.with_data(RunData(args.data_root, tasks, size))
    suite = suite.with_seeds(args.seeds) if args.seeds else suite
    return suite.with_configs(args.configs)


def _kept(root: Path) -> Path | None:
    """Results that are in git, in a checkout."""
    folder = root / 'docs' / 'results'
    return folder if folder.is_dir() else None
