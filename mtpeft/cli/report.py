"""``mtpeft report``."""

import argparse

DESCRIPTION = """\
Write one HTML file about a run, or about all runs of a suite, that opens from the disk.

It has the metrics with their deltas, curves, pictures, ranks, frequencies, parameters, the config,
the commands and versions. Of a suite it has the table of its methods, the plot of Delta_m against
parameters, and all of this for each run. Without --pictures the model is not run.

    mtpeft report work_dirs/faar_efficientnet-lite2_scenes --pictures 6
    mtpeft report work_dirs/suites/scenes --out scenes.html

Exit status: 1 where FOLDER is no work dir and no suite, or its model cannot be run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument('folder', metavar='FOLDER', help='work dir of a run, or of a suite')
    parser.add_argument('--out', metavar='FILE', help='default: report.html in FOLDER')
    parser.add_argument(
        '--pictures', type=_count, default=0, metavar='N',
        help='predict N validation pictures and show them with sliders, and the worst of each task',
    )  # fmt: skip
    parser.add_argument(
        '--checkpoint', metavar='CKPT',
        help='weights for --pictures; default: the best of the run, or else its last',
    )  # fmt: skip
    parser.add_argument(
        '--among', type=_count, default=400, metavar='N',
        help='judge at most N validation pictures to find the worst (400)',
    )  # fmt: skip
    parser.add_argument(
        '--no-input', action='store_true',
        help='no photographs in the file, for data whose pictures must not be passed on',
    )  # fmt: skip
    parser.add_argument('--device', default='cpu', help="where the model runs, such as 'cuda'")


def run(args: argparse.Namespace) -> None:
    """Write the report and say where it is."""
    from mtpeft.report import write_report

    path = write_report(
        args.folder, args.out, args.pictures, args.checkpoint, not args.no_input, args.device,
        args.among, lambda text: print(text, flush=True),
    )  # fmt: skip
    print(f'Written: {path} ({path.stat().st_size / 1e6:.1f} MB)')


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'expected 0 or a positive integer, got {text!r}')
    return int(text)
