"""``mtpeft export``."""

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """Write a trained model as a file that runs without mtpeft.

The model is merged first. The file takes any number of pictures (B, H, W, 3), uint8, RGB, and gives
a map for each task: class indices, probabilities, unit vectors, values. With --raw pictures come
normalised, (B, 3, H, W), and logits leave. OUT.onnx is for onnxruntime and its like, OUT.pt2 for
torch.export.load.

The file is compared with the model before the command ends, on rendered scenes or on the pictures
of --check: what differs by task, and how long each takes. See docs/export.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from mtpeft.cli.model_argument import add_model_argument

    add_model_argument(parser)
    parser.add_argument('target', metavar='OUT', help='file to write, *.onnx or *.pt2')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='height and width of the pictures; default: those that the config tests on',
    )
    parser.add_argument('--dynamic-size', action='store_true', help='take other sizes too')
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='these tasks only')
    parser.add_argument('--raw', action='store_true', help='normalised pictures in, logits out')
    parser.add_argument('--half', action='store_true', help='compute in float16')
    parser.add_argument('--opset', type=int, metavar='N', help="version of ONNX's operators")
    parser.add_argument(
        '--check', nargs='+', metavar='PICTURE', help='compare on these pictures, not on scenes'
    )
    parser.add_argument('--no-check', action='store_true', help='do not compare')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')


def run(args: argparse.Namespace) -> int | None:
    """Export, compare, and say what came of it; 1 where the file gives something else."""
    from mtpeft.cli.model_argument import read_model
    from mtpeft.export.errors import ExportError
    from mtpeft.export.export import checked_path, export_model
    from mtpeft.export.inputs import default_size, transforms_of

    try:
        checked_path(args.target, args.force)
        model = read_model(args)
        cfg = getattr(model, 'cfg', None)
        size = args.size or default_size(model, cfg)
        exported = export_model(
            model,
            args.target,
            size,
            tasks=args.tasks,
            raw=args.raw,
            dynamic_size=args.dynamic_size,
            half=args.half,
            opset=args.opset,
            transforms=transforms_of(cfg),
            force=args.force,
        )
        print(f'{exported.path}: {exported.size:,} bytes, {_shape(args, size)}, outputs: '
              f'{", ".join(exported.module.tasks)}')  # fmt: skip
        return None if args.no_check else _check(args, model, exported, size)
    except (ExportError, FileNotFoundError, FileExistsError, TypeError, ValueError) as error:
        raise SystemExit(str(error)) from error
    except KeyError as error:
        raise SystemExit(error.args[0]) from error


def _shape(args: argparse.Namespace, size: Any) -> str:
    at = f'traced at {size[0]} x {size[1]}, other sizes too' if args.dynamic_size else (
        f'pictures of {size[0]} x {size[1]}'
    )  # fmt: skip
    return f'{at}, {"float16" if args.half else "float32"}'


def _check(args: argparse.Namespace, model: Any, exported: Any, size: Any) -> int | None:
    """Compare the file with the model in float32, and print what differs."""
    from mtpeft.export.check import differences, latency
    from mtpeft.export.exportable import prepared
    from mtpeft.export.inputs import pictures_for
    from mtpeft.export.runtimes import runner_of
    from mtpeft.export.sizes import HALF, SAME

    module = exported.module
    if args.half:  # compared with what it was trained in
        module = prepared(model, args.tasks, args.raw)
    run_file = runner_of(exported.path)
    pictures = pictures_for(module, size, args.check)
    bad = False
    source = 'of --check' if args.check else 'rendered'
    print(f'compared on {len(pictures)} picture{"s" * (len(pictures) > 1)} ({source}):')
    for row in differences(module, run_file, pictures):
        print(f'  {row.task}: {row}')
        bad |= row.largest > (HALF if args.half else SAME)
    for (height, width), worst in exported.elsewhere.items():
        print(f'  at {height} x {width}: {worst:.1e} of a range at most')
    print(f'  {latency(module, run_file, pictures[:1])}')
    if bad:
        print(f'{Path(args.target)} gives something else than the model: do not use it, and '
              'please report this.')  # fmt: skip
    return int(bad)
