"""mtpeft predict: maps and drawings of pictures, videos and cameras."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtpeft.apis.predict.ledger import Report

DESCRIPTION = """\
Predict pictures, folders, videos or a camera, and write what a model sees.

DIR/maps/TASK/NAME.png holds each map, DIR/maps.json says how they are read (units, scale, classes,
colours), DIR/drawings/NAME.png shows each picture beside its maps, with what the colours mean. A
video comes out as a video, its maps as a folder of frames. A large picture (over 4 million pixels)
is predicted in windows. Nothing that is there is written over without --force.

    mtpeft predict mtpeft:faar_efficientnet-lite2_scenes photos/ --out predicted
    mtpeft predict MODEL film.mp4 'more/*.jpg' --tasks depth normals --out predicted
    mtpeft predict MODEL 0 --frames 100 --out camera
    mtpeft predict MODEL photos/ --compare OTHER_MODEL --figures pdf --out compared

Exit status: 0 when all inputs were predicted, 1 when some were not (they are listed) or MODEL
cannot be read, 2 when inputs or options are wrong and nothing was begun, 130 after Ctrl-C, 143
after SIGTERM.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    from mtpeft.cli.model_argument import add_model_argument

    add_model_argument(parser)
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT',
        help="a picture, a folder, a pattern ('photos/**/*.jpg'), a video, the number of a camera",
    )  # fmt: skip
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the results')
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='these tasks; default: all')
    parser.add_argument('--recursive', action='store_true', help='folders within folders too')
    parser.add_argument(
        '--batch-size', type=_positive, default=1, metavar='N',
        help='pictures or frames in a pass; predictions do not depend on it',
    )  # fmt: skip
    parser.add_argument(
        '--half', action='store_true',
        help='half precision: faster on most GPUs (on a CPU bfloat16)',
    )  # fmt: skip
    parser.add_argument(
        '--save', choices=('maps', 'drawings', 'both'), default='both', help='what is written'
    )
    parser.add_argument(
        '--maps', choices=('png', 'npy'), default='png',
        help='files of maps: png is small and opens everywhere, npy holds every number as it is',
    )  # fmt: skip
    _add_drawing_arguments(parser)
    parser.add_argument(
        '--frames', type=_positive, metavar='N', help='at most N frames of a video or a camera'
    )
    parser.add_argument(
        '--window', type=_window, default='auto', metavar='auto|none|H[xW]',
        help='windows of large pictures; auto: 512x512 where a picture has over 4 million pixels '
             'and the config has no windows',
    )  # fmt: skip
    parser.add_argument(
        '--longest', type=_positive, metavar='N',
        help='make pictures smaller first, to N pixels at the longer side: a model knows things at '
             'the size it was trained on',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='write over files that are there')


def _add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--drawings', choices=('together', 'apart'), default='together',
        help='one drawing of all tasks, or one a task',
    )  # fmt: skip
    parser.add_argument(
        '--figures', choices=('png', 'jpg', 'pdf', 'svg'), default='png',
        help='files of drawings of pictures; pdf and svg have text as vectors, for print',
    )  # fmt: skip
    parser.add_argument(
        '--compare', nargs='+', default=[], metavar='MODEL',
        help='further models: each drawing has a row a model, and the same colours in all rows',
    )  # fmt: skip
    parser.add_argument('--height', type=_positive, metavar='H', help='of a map in a drawing')


def run(args: argparse.Namespace) -> int:
    """Predict; the exit status."""
    from mtpeft.apis.inputs import find_inputs
    from mtpeft.apis.predict.folder import OutFolder
    from mtpeft.utils.signals import watched

    try:
        # all that can be wrong without a model is said before one is read
        inputs = find_inputs(args.inputs, args.recursive, without=Path(args.out))
        with watched():
            folder = OutFolder(args.out, args.force)
            job = _job(args, folder)
            _first_screen(args, job, inputs)
            report = job.run(inputs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f'mtpeft predict: {words}', file=sys.stderr)
        return 2
    return _told(report, job, len(inputs))


def _job(args: argparse.Namespace, folder: Any) -> Any:
    from mtpeft.apis import MultiTaskInferencer
    from mtpeft.apis.predict.results import Wanted
    from mtpeft.apis.predict.run import WINDOW, PredictRun
    from mtpeft.cli.model_argument import read_model
    from mtpeft.version import __version__

    model = read_model(args)
    if not getattr(model, 'merged', True):
        # the same predictions in less time; a picture alone gains most
        model.merge_adapters(reversible=False, log=False)
    if args.half:
        import torch

        on_cpu = next(model.parameters()).device.type == 'cpu'
        model = model.to(torch.bfloat16 if on_cpu else torch.float16)
    predict = MultiTaskInferencer(model, args.tasks)
    wanted = Wanted(
        {name: model.tasks[name] for name in predict.tasks},
        args.save, args.maps, args.drawings, args.height, args.figures,
    )  # fmt: skip
    said = dict(model=str(args.model), mtpeft=__version__)
    if getattr(args, 'checkpoint', None):
        said['checkpoint'] = str(args.checkpoint)
    window = WINDOW if args.window == 'auto' else args.window
    return PredictRun(
        predict, folder, wanted, args.batch_size, args.frames, window, args.longest, said,
        compared=_compared(args),
    )  # fmt: skip


def _compared(args: argparse.Namespace) -> dict[str, Any]:
    """The models of ``--compare`` by name, behind the one that is predicted with."""
    from mtpeft.apis import MultiTaskInferencer
    from mtpeft.cli.model_argument import read_model

    if not args.compare:
        return {}
    if args.drawings == 'apart':
        raise ValueError('--compare draws all tasks in one drawing. Leave out --drawings apart.')
    models: dict[str, Any] = {name_of(args.model): None}
    for model in args.compare:
        name, number = name_of(model), 2
        while name in models:
            name, number = f'{name_of(model)} ({number})', number + 1
        given = vars(args) | dict(model=model, checkpoint=None)
        models[name] = MultiTaskInferencer(read_model(argparse.Namespace(**given)))
    return models


def name_of(model: Any) -> str:
    """A short name of a model for drawings.

    Example:
        >>> name_of('mtpeft:faar_swin-pico_scenes'), name_of('runs/lora.safetensors')
        ('faar_swin-pico_scenes', 'lora')
    """
    path = Path(str(model).removeprefix('mtpeft:'))
    known = path.suffix in ('.pth', '.py', '.safetensors')
    return path.stem if known else path.name


def _first_screen(args: argparse.Namespace, job: Any, inputs: list) -> None:
    from collections import Counter

    from mtpeft.version import __version__

    model = job.predict.model
    kinds = Counter(found.kind for found in inputs)
    lines = {
        'model': f'{args.model}' + f' with {args.checkpoint}' * bool(args.checkpoint),
        'tasks': ', '.join(job.wanted.tasks),
        'device': next(model.parameters()).device,
        'inputs': ', '.join(_counted(n, kind) for kind, n in kinds.items()),
        'writes to': job.folder,
    }
    print(f'mtpeft {__version__}: predict')
    for name, text in lines.items():
        print(f'  {name:<10}  {text}', flush=True)


def _counted(number: int, word: str) -> str:
    return f'{number} {word}{"s" * (number != 1)}'


def _told(report: 'Report', job: Any, number: int) -> int:
    parts = []
    if report.pictures:
        parts.append(_counted(report.pictures, 'picture'))
    if report.videos:
        parts.append(f'{_counted(report.frames, "frame")} of {_counted(report.videos, "video")}')
    done = ' and '.join(parts) or 'nothing'
    print(f'Predicted {done}: {_counted(report.files, "file")} in {job.folder}')
    if parts and job.wanted.maps:
        print(f'{job.folder}maps.json says how the maps are read.')
    if report.failed:
        print(f'{len(report.failed)} of {number} inputs failed:', file=sys.stderr)
        for source, words in report.failed:
            print(f'  {source}: {words}', file=sys.stderr)
    if report.stopped:
        print(f'{report.stopped} What is listed above is whole.', file=sys.stderr)
    return report.status or int(bool(report.failed or report.stopped))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a positive integer, got {text!r}')
    return int(text)


def _window(text: str) -> Any:
    if text == 'auto':
        return text
    if text == 'none':
        return None
    sides = text.lower().split('x')
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"expected auto, none, or a size such as 512 or 512x768, "
                                         f'got {text!r}')  # fmt: skip
    return int(sides[0]), int(sides[-1])
