"""``mtpeft compare``."""

import argparse
import dataclasses
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mtpeft.cli.config_arguments import add_config_arguments

if TYPE_CHECKING:
    from mtpeft.apis.suite import Entry, ResultFiles, Slot, Suite

DESCRIPTION = """Compare methods under one recipe: run what a suite still lacks, write its table.

Runs are made one after another, or several at once (--gpus, --jobs). The same command goes on where
an earlier one stopped, also within a run; started twice, both share the runs between them. With
configs or labels, only these are run and listed, with single-task runs that are there. Written to
the work dir after every run: table.md, table.csv, table.tex, delta_m.png, .pdf and .svg (Delta_m
against trainable parameters) and baselines.json (for the option baselines of MultiTaskEvaluator).
Exit status: 1 if a run failed or was left out, 2 if nothing was run because the recipe changed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--suite', required=True, help='name of a file in configs/suites, or path of one'
    )
    parser.add_argument(
        'configs', nargs='*', metavar='CONFIG',
        help='run and list only these: paths of configs (those beside the suite are added) or '
             'labels',
    )  # fmt: skip
    at_once = parser.add_mutually_exclusive_group()
    at_once.add_argument(
        '--gpus', metavar='0-3', help='GPUs, such as 0-3 or 0,2: one run at a time on each'
    )
    at_once.add_argument(
        '--jobs', type=int, default=1, metavar='N',
        help='so many runs at once, which share the cores of the CPU out (OMP_NUM_THREADS)',
    )  # fmt: skip
    parser.add_argument(
        '--format', choices=('md', 'csv', 'latex'), default='md',
        help='the table that is printed (all are written): Markdown (default), CSV, LaTeX with '
             'booktabs',
    )  # fmt: skip
    parser.add_argument(
        '--against', metavar='LABEL', default='',
        help="a column of p values: Welch's t-test of each method's Delta_m over seeds against "
             'that of this one, corrected for the number of rows (Holm)',
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
    from mtpeft.apis.suite import ChangedRecipeError, SuiteRunner, write_report
    from mtpeft.utils.shipped import shipped_root

    root = shipped_root()
    suite, chosen = _suite(args, root)
    if args.against and not args.collect:
        _check_against(args.against, suite, chosen)
    work_dir = Path(args.work_dir or Path('work_dirs') / 'suites' / suite.name)
    results = _results(args, root, suite)
    listed = chosen if args.configs else None

    def after_run() -> None:
        _keep(args, results, suite, work_dir)
        write_report(suite, work_dir, results, listed)

    runner = SuiteRunner(
        suite, work_dir, os.path.relpath(root / 'tools' / 'train.py'), redo=args.redo,
        say=lambda text: print(text, file=_aside(args), flush=True), after_run=after_run,
        results=results, slots=_slots(args),
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
        after_run()
        print('Interrupted. The same command goes on from here.')
        return 130
    _keep(args, results, suite, work_dir)
    _report(args, suite, work_dir, results, listed)
    return _status(suite, work_dir, results, listed if args.collect else chosen, args.collect)


def _keep(
    args: argparse.Namespace, results: 'ResultFiles | None', suite: 'Suite', work_dir: Path
) -> None:  # fmt: skip
    from mtpeft.apis.suite import collect

    if args.results:
        results.keep(suite, collect(suite, work_dir, results))


def _report(
    args: argparse.Namespace, suite: 'Suite', work_dir: Path, results: 'ResultFiles | None',
    listed: tuple['Entry', ...] | None,
) -> None:  # fmt: skip
    """Write everything, and print the table that was asked for."""
    from mtpeft.apis.suite import FORMATS, RUNS_TITLE, write_report

    try:
        write_report(suite, work_dir, results, listed, args.against)
    except ValueError as error:
        if not args.against:
            raise
        write_report(suite, work_dir, results, listed)
        raise SystemExit(f'{error}\nThe tables in {work_dir} are without a test.') from error
    name, _ = FORMATS[args.format]
    print((work_dir / name).read_text(encoding='utf-8').split(f'\n{RUNS_TITLE}')[0])
    files = ', '.join(sorted(path.name for path in work_dir.glob('*.*')))
    print(f'Written to {work_dir}: {files}', file=_aside(args))


def _aside(args: argparse.Namespace) -> TextIO:
    """Where other things than the table are said: one that a program reads stands alone."""
    return sys.stdout if args.format == 'md' else sys.stderr


def _status(
    suite: 'Suite', work_dir: Path, results: 'ResultFiles | None',
    chosen: tuple['Entry', ...] | None, collected: bool,
) -> int:  # fmt: skip
    """Whether a run of ``chosen`` entries (``None``: all that are there) failed."""
    from mtpeft.apis.suite import collect

    # what is not run yet is no failure when collecting
    failed = {'failed', 'broken', 'changed'} | (set() if collected else {'missing', 'unfinished'})
    runs = collect(suite, work_dir, results)
    return int(any(run.status in failed for run in runs if not chosen or run.entry in chosen))


def _slots(args: argparse.Namespace) -> list['Slot']:
    from mtpeft.apis.suite import cpu_slots, gpu_slots

    try:
        if args.gpus is None:
            return cpu_slots(args.jobs, given=os.environ.get('OMP_NUM_THREADS'))
        import torch

        visible = os.environ.get('CUDA_VISIBLE_DEVICES')
        return gpu_slots(args.gpus, torch.cuda.device_count(), visible)
    except ValueError as error:
        raise SystemExit(str(error)) from None


def _check_against(label: str, suite: 'Suite', chosen: tuple['Entry', ...]) -> None:
    """Refuse before hours of runs what could not be tested after them."""
    from mtpeft.apis.suite import SINGLE_TASK
    from mtpeft.utils.suggest import hint

    methods = {entry.label: entry for entry in chosen if entry.role != SINGLE_TASK}
    if label not in methods:
        raise SystemExit(
            f"--against '{label}': expected the label of a method that is compared. "
            + hint(label, methods)
        )
    if len(suite.seeds_of(methods[label])) < 2:
        raise SystemExit(
            f"--against '{label}': a test needs at least two seeds, and there is one. "
            'Give more, such as --seeds 0 1 2.'
        )


def _results(
    args: argparse.Namespace, root: Path, suite: 'Suite'
) -> 'ResultFiles | None':  # fmt: skip
    from mtpeft.apis.suite import ResultFiles

    folder = args.results or (_kept(root) if args.collect else None)
    return ResultFiles(Path(os.path.relpath(Path(folder) / suite.name))) if folder else None


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
